//! The changes. Each request says whether it may take an address or a route from its present holder. EC2 refuses the
//! request if taking would be necessary and is not allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_sdk_ec2::types::{AttributeBooleanValue, Tag};
use ipnet::IpNet;

use super::AwsEc2;
use crate::action::{Action, Force, RouteCall};
use crate::binding::{Account, Anchor};
use crate::ec2::message::refused;
use crate::ec2::{Accepted, Class, Ec2Error, Ec2Read, Ec2Write, Effect, EniQuery, RouteTarget, TableQuery, Urgency};
use crate::ids::{AllocationId, AssociationId, EniId, RouteTableId};

const CHANGED: Accepted = Accepted { association: None, changed: true };
const NOTHING_TO_DO: Accepted = Accepted { association: None, changed: false };

impl Ec2Write for AwsEc2 {
    async fn admit(&self, urgency: Urgency) {
        let waited = self.bucket.admit(urgency).await;
        // The caller goes on at once after `admit`, so the next request is the one that has waited.
        self.waited.set(waited);
    }

    async fn perform(&self, action: &Action, urgency: Urgency) -> Result<Accepted, Ec2Error> {
        match action {
            Action::AssociateAddress { allocation, eni, private_ip, force } => {
                self.associate(allocation, eni, *private_ip, *force, urgency).await
            }
            Action::DisassociateAddress { association, .. } => self.disassociate(association, urgency).await,
            Action::PointRoute { account, table, destination, eni, call } => {
                Route { account, table, destination: destination.trunc(), eni, urgency }.point(self, *call).await
            }
            Action::DeleteRoute { account, table, destination, eni } => {
                Route { account, table, destination: destination.trunc(), eni, urgency }.delete(self).await
            }
            Action::AssignAddress { eni, address: IpAddr::V4(address), force } => {
                self.assign(eni, *address, *force, urgency).await
            }
            Action::AssignAddress { eni, address: IpAddr::V6(address), force } => {
                Box::pin(self.assign_ipv6(eni, *address, *force, urgency)).await
            }
            Action::UnassignAddress { eni, address: IpAddr::V4(address) } => {
                none_is_fine(self.unassign_call(eni, *address, urgency).await, is_not_assigned)
            }
            Action::UnassignAddress { eni, address: IpAddr::V6(address) } => {
                none_is_fine(self.unassign_ipv6_call(eni, *address, urgency).await, is_not_assigned)
            }
            Action::DisableSourceDestCheck { eni } => self.disable_source_dest_check(eni, urgency).await,
            Action::RecordClaim { anchor, key, value } => self.record_claim(anchor, key, value, urgency).await,
            Action::ForgetClaim { anchor, key, value } => self.forget_claim(anchor, key, value, urgency).await,
            Action::AddLocalAddress { .. } | Action::RemoveLocalAddress { .. } => {
                Err(refused("none", Class::Rejected, format!("'{action}' is for the kernel, not for EC2")))
            }
        }
    }
}

/// Elastic IPs, tags and the source/destination check. Each change is one call.
impl AwsEc2 {
    /// Associates an Elastic IP. The request always sets `AllowReassociation`, because its default differs between
    /// accounts, ages of accounts and endpoints.
    async fn associate(
        &self,
        allocation: &AllocationId,
        eni: &EniId,
        private_ip: Ipv4Addr,
        force: Force,
        urgency: Urgency,
    ) -> Result<Accepted, Ec2Error> {
        let answer = self
            .call(&Account::Own, "AssociateAddress", urgency, async |client, probe| {
                let call = client.associate_address().allocation_id(allocation.as_str());
                let call = call.network_interface_id(eni.as_str()).private_ip_address(private_ip.to_string());
                let call = call.allow_reassociation(force == Force::Take);
                call.customize().interceptor(probe).send().await
            })
            .await?;
        let association = answer.association_id().and_then(|id| id.parse().ok());
        Ok(Accepted { association, changed: true })
    }

    /// Disassociates an Elastic IP by the id of its association. Every move of the address creates a new association
    /// id, so EC2 refuses the call if somebody took the address meanwhile.
    async fn disassociate(&self, association: &AssociationId, urgency: Urgency) -> Result<Accepted, Ec2Error> {
        let outcome = self
            .call(&Account::Own, "DisassociateAddress", urgency, async |client, probe| {
                let call = client.disassociate_address().association_id(association.as_str());
                call.customize().interceptor(probe).send().await
            })
            .await;
        none_is_fine(outcome, |error| error.code.as_deref() == Some("InvalidAssociationID.NotFound"))
    }

    async fn disable_source_dest_check(&self, eni: &EniId, urgency: Urgency) -> Result<Accepted, Ec2Error> {
        let off = AttributeBooleanValue::builder().value(false).build();
        self.call(&Account::Own, "ModifyNetworkInterfaceAttribute", urgency, async |client, probe| {
            let call = client.modify_network_interface_attribute().network_interface_id(eni.as_str());
            let call = call.source_dest_check(off.clone());
            call.customize().interceptor(probe).send().await
        })
        .await
        .map(|_| CHANGED)
    }

    async fn forget_claim(
        &self,
        anchor: &Anchor,
        key: &str,
        value: &str,
        urgency: Urgency,
    ) -> Result<Accepted, Ec2Error> {
        let tag = Tag::builder().key(key).value(value).build();
        self.call(&anchor.account(), "DeleteTags", urgency, async |client, probe| {
            let call = client.delete_tags().resources(anchor.resource()).tags(tag.clone());
            call.customize().interceptor(probe).send().await
        })
        .await
        .map(|_| CHANGED)
    }

    async fn record_claim(
        &self,
        anchor: &Anchor,
        key: &str,
        value: &str,
        urgency: Urgency,
    ) -> Result<Accepted, Ec2Error> {
        let tag = Tag::builder().key(key).value(value).build();
        self.call(&anchor.account(), "CreateTags", urgency, async |client, probe| {
            let call = client.create_tags().resources(anchor.resource()).tags(tag.clone());
            call.customize().interceptor(probe).send().await
        })
        .await
        .map(|_| CHANGED)
    }
}

/// One route that is to lead to this node, or is to be deleted. `destination` must have no host bits: EC2 takes a
/// destination with host bits for another route.
struct Route<'a> {
    account: &'a Account,
    table: &'a RouteTableId,
    destination: IpNet,
    eni: &'a EniId,
    urgency: Urgency,
}

/// The urgency of the further calls of a change whose first call waited for the rate limit. The further calls do not
/// wait: the facts that they rest on were read a moment ago.
const AT_ONCE: Urgency = Urgency::Urgent;

impl Route<'_> {
    /// Creates or replaces the route. The right call depends on whether the route exists, and that may have changed
    /// since the last read. When EC2 answers that the call was the wrong one, the other call follows at once. The
    /// wrong call changed nothing, so no change is made twice.
    async fn point(&self, ec2: &AwsEc2, call: RouteCall) -> Result<Accepted, Ec2Error> {
        let at_once = Self { urgency: AT_ONCE, ..*self };
        let outcome = match call {
            RouteCall::CreateOnly => self.create(ec2).await,
            RouteCall::CreateElseReplace => match self.create(ec2).await {
                Err(error) if error.code.as_deref() == Some("RouteAlreadyExists") => at_once.replace(ec2).await,
                outcome => outcome,
            },
            RouteCall::ReplaceElseCreate => match self.replace(ec2).await {
                Err(error) if is_no_route(&error) => at_once.create(ec2).await,
                outcome => outcome,
            },
        };
        outcome.map(|()| CHANGED)
    }

    async fn create(&self, ec2: &AwsEc2) -> Result<(), Ec2Error> {
        let [v4, v6] = self.destination_fields();
        ec2.call(self.account, "CreateRoute", self.urgency, async |client, probe| {
            let call = client.create_route().route_table_id(self.table.as_str());
            let call = call.set_destination_cidr_block(v4.clone()).set_destination_ipv6_cidr_block(v6.clone());
            call.network_interface_id(self.eni.as_str()).customize().interceptor(probe).send().await
        })
        .await
        .map(drop)
    }

    async fn replace(&self, ec2: &AwsEc2) -> Result<(), Ec2Error> {
        let [v4, v6] = self.destination_fields();
        ec2.call(self.account, "ReplaceRoute", self.urgency, async |client, probe| {
            let call = client.replace_route().route_table_id(self.table.as_str());
            let call = call.set_destination_cidr_block(v4.clone()).set_destination_ipv6_cidr_block(v6.clone());
            call.network_interface_id(self.eni.as_str()).customize().interceptor(probe).send().await
        })
        .await
        .map(drop)
    }

    /// Deletes the route if it leads to this node. EC2 has no conditional delete, so `delete` reads the table
    /// directly before: nothing safer exists.
    async fn delete(&self, ec2: &AwsEc2) -> Result<Accepted, Ec2Error> {
        let query = TableQuery::Ids([self.table.clone()].into());
        let tables = ec2.route_tables(self.account, &query, self.urgency).await?;
        let mut routes = tables.iter().flat_map(|table| &table.routes);
        let ours = RouteTarget::Eni(self.eni.clone());
        if !routes.any(|route| route.destination == self.destination && route.target == ours) {
            return Ok(NOTHING_TO_DO);
        }
        let [v4, v6] = self.destination_fields();
        let outcome = ec2
            .call(self.account, "DeleteRoute", AT_ONCE, async |client, probe| {
                let call = client.delete_route().route_table_id(self.table.as_str());
                let call = call.set_destination_cidr_block(v4.clone()).set_destination_ipv6_cidr_block(v6.clone());
                call.customize().interceptor(probe).send().await
            })
            .await;
        none_is_fine(outcome, |error| error.code.as_deref() == Some("InvalidRoute.NotFound"))
    }

    /// The destination in the fields for IPv4 and for IPv6. Exactly one of the two fields is set.
    fn destination_fields(&self) -> [Option<String>; 2] {
        match self.destination {
            IpNet::V4(block) => [Some(block.to_string()), None],
            IpNet::V6(block) => [None, Some(block.to_string())],
        }
    }
}

/// Addresses of an ENI.
impl AwsEc2 {
    async fn assign(
        &self,
        eni: &EniId,
        address: Ipv4Addr,
        force: Force,
        urgency: Urgency,
    ) -> Result<Accepted, Ec2Error> {
        let outcome = self
            .call(&Account::Own, "AssignPrivateIpAddresses", urgency, async |client, probe| {
                let call = client.assign_private_ip_addresses().network_interface_id(eni.as_str());
                let call = call.private_ip_addresses(address.to_string());
                call.allow_reassignment(force == Force::Take).customize().interceptor(probe).send().await
            })
            .await;
        match outcome {
            Ok(_) => Ok(CHANGED),
            // EC2's answer for an address that this ENI already has is not documented. The ENI's own address is no
            // conflict.
            Err(error) if is_conflict(&error) => {
                let own = self.interfaces(&EniQuery::Ids([eni.clone()].into()), AT_ONCE).await;
                let has_it = own.is_ok_and(|own| own.iter().any(|own| own.private_ips.contains(&address)));
                if has_it { Ok(NOTHING_TO_DO) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Assigns an IPv6 address. EC2 cannot move an IPv6 address in one call. With `Force::Take`, `assign_ipv6`
    /// therefore unassigns the address from its holder, and then assigns it to this ENI.
    async fn assign_ipv6(
        &self,
        eni: &EniId,
        address: Ipv6Addr,
        force: Force,
        urgency: Urgency,
    ) -> Result<Accepted, Ec2Error> {
        let conflict = match self.assign_ipv6_call(eni, address, urgency).await {
            Ok(()) => return Ok(CHANGED),
            Err(error) if is_conflict(&error) => error,
            Err(error) => return Err(error),
        };
        let own = EniQuery::Ids([eni.clone()].into());
        let (own, holders) = tokio::try_join!(self.interfaces(&own, AT_ONCE), self.holders_of(address, AT_ONCE))?;
        if own.iter().any(|own| own.ipv6.contains(&address)) {
            return Ok(NOTHING_TO_DO);
        }
        let vpc = own.iter().find_map(|own| own.vpc.as_ref());
        let holder = holders.iter().find(|holder| holder.id != *eni && holder.vpc.as_ref() == vpc);
        let (Force::Take, Some(holder)) = (force, holder) else { return Err(conflict) };
        match self.unassign_ipv6_call(&holder.id, address, AT_ONCE).await {
            Err(error) if !is_not_assigned(&error) => return Err(error),
            _ => {}
        }
        match self.assign_ipv6_call(eni, address, AT_ONCE).await {
            Ok(()) => Ok(CHANGED),
            // The old holder has already lost the address, so the failed change had an effect.
            Err(error) => Err(Ec2Error { effect: Effect::Unknown, ..error }),
        }
    }

    async fn assign_ipv6_call(&self, eni: &EniId, address: Ipv6Addr, urgency: Urgency) -> Result<(), Ec2Error> {
        self.call(&Account::Own, "AssignIpv6Addresses", urgency, async |client, probe| {
            let call = client.assign_ipv6_addresses().network_interface_id(eni.as_str());
            call.ipv6_addresses(address.to_string()).customize().interceptor(probe).send().await
        })
        .await
        .map(drop)
    }

    async fn unassign_call(&self, eni: &EniId, address: Ipv4Addr, urgency: Urgency) -> Result<(), Ec2Error> {
        self.call(&Account::Own, "UnassignPrivateIpAddresses", urgency, async |client, probe| {
            let call = client.unassign_private_ip_addresses().network_interface_id(eni.as_str());
            call.private_ip_addresses(address.to_string()).customize().interceptor(probe).send().await
        })
        .await
        .map(drop)
    }

    async fn unassign_ipv6_call(&self, eni: &EniId, address: Ipv6Addr, urgency: Urgency) -> Result<(), Ec2Error> {
        self.call(&Account::Own, "UnassignIpv6Addresses", urgency, async |client, probe| {
            let call = client.unassign_ipv6_addresses().network_interface_id(eni.as_str());
            call.ipv6_addresses(address.to_string()).customize().interceptor(probe).send().await
        })
        .await
        .map(drop)
    }
}

/// The outcome of a release. If the released thing is already gone, the release succeeded and changed nothing.
fn none_is_fine<T>(
    outcome: Result<T, Ec2Error>,
    is_gone: impl FnOnce(&Ec2Error) -> bool,
) -> Result<Accepted, Ec2Error> {
    match outcome {
        Ok(_) => Ok(CHANGED),
        Err(error) if is_gone(&error) => Ok(NOTHING_TO_DO),
        Err(error) => Err(error),
    }
}

/// Whether ReplaceRoute found no route to replace. The API reference documents `InvalidRoute.NotFound` for this case;
/// in practice EC2 sends `InvalidParameterValue`.
fn is_no_route(error: &Ec2Error) -> bool {
    match error.code.as_deref() {
        Some("InvalidRoute.NotFound") => true,
        Some("InvalidParameterValue") => error.class == Class::Stale,
        _ => false,
    }
}

/// Whether EC2 refused because an ENI already has the address. `InvalidParameterValue` has many meanings: the class
/// tells whether this one is meant.
fn is_conflict(error: &Ec2Error) -> bool {
    match error.code.as_deref() {
        Some("Resource.AlreadyAssigned" | "InvalidIPAddress.InUse") => true,
        Some("InvalidParameterValue") => error.class == Class::Stale,
        _ => false,
    }
}

/// Whether an unassign call found that the ENI does not have the address.
fn is_not_assigned(error: &Ec2Error) -> bool {
    error.code.as_deref() == Some("InvalidParameterValue") && error.class == Class::Stale
}
