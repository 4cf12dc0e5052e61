//! EC2 as one node uses it. The node first learns its identity and its region, from the metadata service or the
//! configuration. The SDK's client is then made for that region. This module decides nothing.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use crate::action::Action;
use crate::aws::imds::{Card, Imds, WantedInterfaces, local_cards};
use crate::aws::{AwsEc2, Observer};
use crate::binding::Account;
use crate::config::Config;
use crate::ec2::ask::{DryRun, Ec2Ask, EniSurroundings, Ingress, Slots, Travelled};
use crate::ec2::server_clock::ServerTime;
use crate::ec2::{
    Accepted, Address, Class, Ec2Error, Ec2Read, Ec2Write, Effect, Eni, EniQuery, RouteTable, TableQuery, Urgency,
};
use crate::error::one_line;
use crate::identity::Identify;
use crate::identity::Node;
use crate::ids::{AllocationId, EniId, SubnetId, VpcId};

/// A function that lists the interfaces of this machine.
pub type Cards = Box<dyn Fn() -> io::Result<BTreeMap<String, Card>>>;

/// EC2 and the metadata service of one node.
pub struct Cloud {
    cards: Cards,
    observer: Observer,
    ec2: OnceCell<AwsEc2>,
}

impl Cloud {
    /// Sends no request yet. `observer` gets the report of every request to EC2.
    #[must_use]
    pub fn new(observer: Observer) -> Self {
        Self::with_cards(Box::new(local_cards), observer)
    }

    /// A node whose interfaces come from `cards` and not from this machine. Sends no request yet.
    #[must_use]
    pub fn with_cards(cards: Cards, observer: Observer) -> Self {
        Self { cards, observer, ec2: OnceCell::new() }
    }

    /// The SDK's client. `None` until the node knows who it is.
    #[must_use]
    pub fn ec2(&self) -> Option<&AwsEc2> {
        self.ec2.get()
    }

    fn ready(&self, operation: &'static str) -> Result<&AwsEc2, Ec2Error> {
        self.ec2.get().ok_or_else(|| Ec2Error {
            operation,
            code: None,
            reason: None,
            message: "this node does not know yet who it is".to_owned(),
            request_id: None,
            class: Class::Transient,
            effect: Effect::None,
        })
    }
}

impl Identify for Cloud {
    async fn identify(&self, config: &Config) -> Result<Node, String> {
        let mut wanted = WantedInterfaces::default();
        for address in config.vips.iter().flat_map(|vip| &vip.addresses) {
            for name in address.interfaces() {
                match name {
                    Some(name) => _ = wanted.named.insert(name.to_owned()),
                    None => wanted.first = true,
                }
            }
        }
        let cards = (self.cards)().map_err(|error| format!("cannot list the network interfaces: {error}"))?;
        let imds = Imds::new(&config.aws).map_err(|error| one_line(&error))?;
        let node = imds.node(&config.identity, &config.aws, &wanted, &cards).await.map_err(|error| one_line(&error))?;
        if self.ec2.get().is_none() {
            let observer = Observer::clone(&self.observer);
            let ec2 = AwsEc2::new(&config.aws, &node.region, &node.instance, config.limits, observer).await;
            let ec2 = ec2.map_err(|error| one_line(&error))?;
            // The loop runs one `identify` at a time, so no other call has set the client meanwhile.
            let _ = self.ec2.set(ec2);
        }
        Ok(node)
    }

    async fn instance_type(&self, config: &Config) -> Result<String, String> {
        if config.identity.instance_id.is_some() {
            // There may be no metadata service to ask.
            return Err("the configuration names the instance, and not its type".to_owned());
        }
        let imds = Imds::new(&config.aws).map_err(|error| one_line(&error))?;
        imds.instance_type().await.map_err(|error| one_line(&error))
    }
}

impl Ec2Read for Cloud {
    async fn addresses(&self, public_ips: &BTreeSet<Ipv4Addr>, urgency: Urgency) -> Result<Vec<Address>, Ec2Error> {
        self.ready("DescribeAddresses")?.addresses(public_ips, urgency).await
    }

    async fn route_tables(
        &self,
        account: &Account,
        query: &TableQuery,
        urgency: Urgency,
    ) -> Result<Vec<RouteTable>, Ec2Error> {
        self.ready("DescribeRouteTables")?.route_tables(account, query, urgency).await
    }

    async fn interfaces(&self, query: &EniQuery, urgency: Urgency) -> Result<Vec<Eni>, Ec2Error> {
        self.ready("DescribeNetworkInterfaces")?.interfaces(query, urgency).await
    }

    async fn tags(&self, resource: &str, urgency: Urgency) -> Result<BTreeMap<String, String>, Ec2Error> {
        self.ready("DescribeTags")?.tags(resource, urgency).await
    }

    fn time(&self) -> Option<ServerTime> {
        self.ec2.get()?.time()
    }
}

impl Ec2Write for Cloud {
    async fn admit(&self, urgency: Urgency) {
        if let Some(ec2) = self.ec2.get() {
            ec2.admit(urgency).await;
        }
    }

    async fn perform(&self, action: &Action, urgency: Urgency) -> Result<Accepted, Ec2Error> {
        // A change of the kernel has no EC2 operation. The SDK's client also refuses such a change with the operation
        // "none".
        let operation = action.operation().unwrap_or("none");
        Box::pin(self.ready(operation)?.perform(action, urgency)).await
    }
}

impl Ec2Ask for Cloud {
    fn travelled(&self) -> Travelled {
        self.ec2.get().map(Ec2Ask::travelled).unwrap_or_default()
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, Ec2Error> {
        Box::pin(self.ready(action.operation().unwrap_or("none"))?.dry_run(action)).await
    }

    async fn surroundings(&self, eni: &EniId) -> Result<Option<EniSurroundings>, Ec2Error> {
        self.ready("DescribeNetworkInterfaces")?.surroundings(eni).await
    }

    async fn ingress(&self, groups: &BTreeSet<String>) -> Result<Vec<Ingress>, Ec2Error> {
        self.ready("DescribeSecurityGroups")?.ingress(groups).await
    }

    async fn slots(&self, instance_type: &str) -> Result<Option<Slots>, Ec2Error> {
        Box::pin(self.ready("DescribeInstanceTypes")?.slots(instance_type)).await
    }

    async fn border_groups(
        &self,
        allocations: &BTreeSet<AllocationId>,
    ) -> Result<BTreeMap<AllocationId, String>, Ec2Error> {
        self.ready("DescribeAddresses")?.border_groups(allocations).await
    }

    async fn table_of(&self, vpc: &VpcId, subnet: &SubnetId) -> Result<Option<RouteTable>, Ec2Error> {
        Box::pin(self.ready("DescribeRouteTables")?.table_of(vpc, subnet)).await
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::action::Force;

    #[tokio::test]
    async fn before_the_identity_is_known_each_call_fails_under_its_own_name() {
        let cloud = Cloud::with_cards(Box::new(|| Ok(BTreeMap::new())), Rc::new(|_| {}));
        let (allocation, association) = ("eipalloc-1".parse().unwrap(), "eipassoc-1".parse().unwrap());
        let disassociate = Action::DisassociateAddress { allocation, association };
        let assign = |address: &str| Action::AssignAddress {
            eni: "eni-a".parse().unwrap(),
            address: address.parse().unwrap(),
            force: Force::IfFree,
        };
        let check_off = Action::DisableSourceDestCheck { eni: "eni-a".parse().unwrap() };
        for action in [disassociate, assign("10.0.0.50"), assign("fd00::50"), check_off] {
            let error = cloud.perform(&action, Urgency::Normal).await.unwrap_err();
            assert_eq!((Some(error.operation), error.effect), (action.operation(), Effect::None));
        }
        let read = cloud.addresses(&BTreeSet::new(), Urgency::Normal).await.unwrap_err();
        let tags = cloud.tags("subnet-1", Urgency::Normal).await.unwrap_err();
        assert_eq!((read.operation, tags.operation), ("DescribeAddresses", "DescribeTags"));
    }
}
