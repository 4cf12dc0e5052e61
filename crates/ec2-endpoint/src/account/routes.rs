//! Route tables.

use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    Answer, ApiError, DeleteRoute, Describe, RouteChange,
    answer::{RouteState, RouteTableView, RouteView},
};

use super::{
    Account,
    ids::Kind,
    known, listed,
    model::{Route, RouteOrigin, RouteTable, RouteTarget},
    select::{Listed, Paging, pairs, select},
};

/// A destination as the request wrote it, and as a network.
struct Destination<'a> {
    text: &'a str,
    net: IpNet,
}

impl Account {
    pub(super) fn create_route(&mut self, call: &RouteChange) -> Result<Answer, ApiError> {
        let table = Arc::clone(known(&self.route_tables, Kind::RouteTable, &call.route_table_id)?);
        let destination = destination(&call.destination_cidr_block, &call.destination_ipv6_cidr_block)?;
        let target = self.route_target(call, &table)?;
        // EC2 keeps the network, whatever host bits the request had.
        let net = destination.net.trunc();
        if table.routes.contains_key(&net) {
            let message = format!("The route identified by {net} already exists.");
            return Err(ApiError::client("RouteAlreadyExists", message));
        }
        self.check_may_be_routed(&table, net, &target)?;
        let of_this_family = table.routes.keys().filter(|other| is_ipv4(other) == is_ipv4(&net)).count();
        if of_this_family >= table.route_limit {
            return Err(ApiError::client(
                "RouteLimitExceeded",
                format!("The maximum number of routes has been reached for route table {}.", table.id),
            ));
        }
        self.set_route(&table.id, net, Route { target, origin: RouteOrigin::CreateRoute });
        Ok(Answer::Done)
    }

    /// EC2 API reference: ReplaceRoute. It has no precondition: the last writer wins.
    pub(super) fn replace_route(&mut self, call: &RouteChange) -> Result<Answer, ApiError> {
        let table = Arc::clone(known(&self.route_tables, Kind::RouteTable, &call.route_table_id)?);
        let destination = destination(&call.destination_cidr_block, &call.destination_ipv6_cidr_block)?;
        let target = self.route_target(call, &table)?;
        let Some(route) = table.routes.get(&destination.net) else {
            return Err(ApiError::invalid_value(format!(
                "There is no route defined for '{}' in the route table. Use CreateRoute instead.",
                destination.text
            )));
        };
        if target == RouteTarget::Local && route.origin != RouteOrigin::CreateRouteTable {
            return Err(ApiError::invalid_value("A local target is only allowed for the VPC's own CIDR blocks"));
        }
        self.set_route(&table.id, destination.net, Route { target, origin: route.origin });
        Ok(Answer::Done)
    }

    pub(super) fn delete_route(&mut self, call: &DeleteRoute) -> Result<Answer, ApiError> {
        let table = Arc::clone(known(&self.route_tables, Kind::RouteTable, &call.route_table_id)?);
        let destination = destination(&call.destination_cidr_block, &call.destination_ipv6_cidr_block)?;
        let Some(route) = table.routes.get(&destination.net) else {
            let parameter =
                if is_ipv4(&destination.net) { "destination-cidr-block" } else { "destination-ipv6-cidr-block" };
            return Err(ApiError::client(
                "InvalidRoute.NotFound",
                format!("no route with {parameter} {} in route table {}", destination.text, table.id),
            ));
        };
        if route.origin == RouteOrigin::CreateRouteTable {
            return Err(ApiError::invalid_value(format!(
                "cannot remove local route {} in route table {}",
                destination.text, table.id
            )));
        }
        if let Some(table) = self.route_tables.get_mut(&table.id) {
            table.routes.remove(&destination.net);
        }
        Ok(Answer::Done)
    }

    fn set_route(&mut self, table_id: &str, net: IpNet, route: Route) {
        if let Some(table) = self.route_tables.get_mut(table_id) {
            table.routes.insert(net, route);
        }
    }

    fn route_target(&self, call: &RouteChange, table: &RouteTable) -> Result<RouteTarget, ApiError> {
        let given = [call.gateway_id.is_some(), call.instance_id.is_some(), call.network_interface_id.is_some()];
        match given.iter().filter(|given| **given).count() + usize::from(call.local_target) {
            1 => {}
            0 => {
                return Err(ApiError::client("MissingParameter", "The request must contain a target for the route"));
            }
            _ => {
                return Err(ApiError::combination("The request must contain exactly one target for the route"));
            }
        }
        if call.local_target {
            return Ok(RouteTarget::Local);
        }
        if let Some(gateway_id) = &call.gateway_id {
            return self.gateway_target(gateway_id, table);
        }
        let eni = match (&call.network_interface_id, &call.instance_id) {
            (Some(eni_id), _) => self.known_eni(eni_id)?,
            (None, Some(instance_id)) => self.only_interface_of(instance_id)?,
            (None, None) => return Err(ApiError::missing_parameter("networkInterfaceId")),
        };
        if eni.vpc_id != table.vpc_id {
            return Err(different_networks(&table.id, "interface", &eni.id));
        }
        Ok(RouteTarget::NetworkInterface(eni.id.clone()))
    }

    fn gateway_target(&self, gateway_id: &str, table: &RouteTable) -> Result<RouteTarget, ApiError> {
        let owner = self.vpcs.values().find(|vpc| vpc.internet_gateway.as_deref() == Some(gateway_id));
        match owner {
            None => Err(ApiError::client(
                "InvalidInternetGatewayID.NotFound",
                format!("The internetGateway ID '{gateway_id}' does not exist"),
            )),
            Some(vpc) if vpc.id != table.vpc_id => Err(different_networks(&table.id, "network gateway", gateway_id)),
            Some(_) => Ok(RouteTarget::InternetGateway(gateway_id.into())),
        }
    }

    /// VPC user guide, "Route tables": a route inside the VPC's own range must be for the whole of a subnet and lead to
    /// an interface; some link-local ranges are EC2's own.
    fn check_may_be_routed(&self, table: &RouteTable, net: IpNet, target: &RouteTarget) -> Result<(), ApiError> {
        let reserved = [
            IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(169, 254, 168, 0), 22)),
            IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32)),
        ];
        if reserved.iter().any(|reserved| reserved.contains(&net)) {
            return Err(ApiError::invalid_value(format!("The destination CIDR block {net} is reserved")));
        }
        let is_local =
            |(range, route): (&IpNet, &Route)| route.origin == RouteOrigin::CreateRouteTable && range.contains(&net);
        if !table.routes.iter().any(is_local) {
            return Ok(());
        }
        let whole_subnet = self.subnets.values().any(|subnet| {
            subnet.vpc_id == table.vpc_id
                && (IpNet::V4(subnet.cidr) == net || subnet.ipv6_cidr.is_some_and(|cidr| IpNet::V6(cidr) == net))
        });
        match target {
            RouteTarget::NetworkInterface(_) if whole_subnet => Ok(()),
            RouteTarget::NetworkInterface(_) => Err(ApiError::invalid_value(format!(
                "The destination CIDR block {net} is more specific than one of this VPC's CIDR blocks \
                 and is not the CIDR block of a subnet."
            ))),
            _ => Err(ApiError::invalid_value(format!(
                "The destination CIDR block {net} is equal to or more specific than one of this VPC's CIDR blocks. \
                 This route can target only an interface or an instance."
            ))),
        }
    }

    pub(super) fn describe_route_tables(&self, call: &Describe) -> Result<Answer, ApiError> {
        Paging::UP_TO_100.check(call)?;
        let tables = listed(&self.route_tables, Kind::RouteTable, &call.ids)?;
        let views = tables.into_iter().map(|table| self.route_table_view(table)).collect();
        Ok(Answer::RouteTables(select(views, call)?))
    }

    fn route_table_view(&self, table: Arc<RouteTable>) -> RouteTableView {
        let routes =
            table.routes.iter().map(|(destination, route)| self.route_view(&table, *destination, route)).collect();
        RouteTableView { owner_id: self.id.to_string(), routes, table }
    }

    fn route_view(&self, table: &RouteTable, destination: IpNet, route: &Route) -> RouteView {
        let (available, instance_id) = match &route.target {
            RouteTarget::Local => (true, None),
            RouteTarget::InternetGateway(id) => {
                let vpc = self.vpcs.get(&table.vpc_id);
                (vpc.is_some_and(|vpc| vpc.internet_gateway.as_ref() == Some(id)), None)
            }
            RouteTarget::NetworkInterface(id) => {
                let instance_id = self.enis.get(id).and_then(|eni| eni.instance_id()).map(str::to_owned);
                (self.is_in_service(id), instance_id)
            }
        };
        let state = if available { RouteState::Active } else { RouteState::Blackhole };
        RouteView { destination, target: route.target.clone(), instance_id, origin: route.origin, state }
    }
}

fn destination<'a>(ipv4: &'a Option<String>, ipv6: &'a Option<String>) -> Result<Destination<'a>, ApiError> {
    let (parameter, text, net) = match (ipv4, ipv6) {
        (Some(text), None) => ("destinationCidrBlock", text, text.parse().map(IpNet::V4)),
        (None, Some(text)) => ("destinationIpv6CidrBlock", text, text.parse().map(IpNet::V6)),
        (None, None) => return Err(ApiError::missing_parameter("destinationCidrBlock")),
        (Some(_), Some(_)) => {
            return Err(ApiError::combination("The request must contain exactly one destination"));
        }
    };
    let net = net.map_err(|_| ApiError::unusable(parameter, text, "This is not a valid CIDR block."))?;
    Ok(Destination { text, net })
}

fn is_ipv4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

fn different_networks(table_id: &str, what: &str, id: &str) -> ApiError {
    ApiError::invalid_value(format!("route table {table_id} and {what} {id} belong to different networks"))
}

impl RouteTableView {
    /// Whether this is the table of all subnets that name no other.
    pub fn is_main(&self) -> bool {
        self.table.associations.iter().any(|association| association.subnet_id.is_none())
    }

    fn of_routes<T: ToString>(&self, value: impl Fn(&RouteView) -> Option<T>) -> Vec<String> {
        self.routes.iter().filter_map(value).map(|value| value.to_string()).collect()
    }
}

impl Listed for RouteTableView {
    const FILTERS: &'static [&'static str] = &[
        "association.gateway-id",
        "association.main",
        "association.route-table-association-id",
        "association.route-table-id",
        "association.subnet-id",
        "owner-id",
        "route-table-id",
        "route.destination-cidr-block",
        "route.destination-ipv6-cidr-block",
        "route.destination-prefix-list-id",
        "route.egress-only-internet-gateway-id",
        "route.gateway-id",
        "route.instance-id",
        "route.nat-gateway-id",
        "route.origin",
        "route.state",
        "route.transit-gateway-id",
        "route.vpc-peering-connection-id",
        "tag-key",
        "vpc-id",
    ];

    fn key(&self) -> String {
        self.table.id.clone()
    }

    fn values(&self, filter: &str) -> Vec<String> {
        let associations = &self.table.associations;
        match filter {
            "association.main" => {
                associations.iter().map(|association| association.subnet_id.is_none().to_string()).collect()
            }
            "association.route-table-association-id" => {
                associations.iter().map(|association| association.id.clone()).collect()
            }
            "association.route-table-id" => associations.iter().map(|_| self.table.id.clone()).collect(),
            "association.subnet-id" => {
                associations.iter().filter_map(|association| association.subnet_id.clone()).collect()
            }
            "owner-id" => vec![self.owner_id.clone()],
            "route-table-id" => vec![self.table.id.clone()],
            "route.destination-cidr-block" => {
                self.of_routes(|route| is_ipv4(&route.destination).then_some(route.destination))
            }
            "route.destination-ipv6-cidr-block" => {
                self.of_routes(|route| (!is_ipv4(&route.destination)).then_some(route.destination))
            }
            "route.gateway-id" => self.of_routes(|route| match &route.target {
                RouteTarget::Local => Some("local".to_owned()),
                RouteTarget::InternetGateway(id) => Some(id.clone()),
                RouteTarget::NetworkInterface(_) => None,
            }),
            "route.instance-id" => self.of_routes(|route| route.instance_id.clone()),
            "route.origin" => self.of_routes(|route| Some(route.origin)),
            "route.state" => self.of_routes(|route| Some(route.state.as_str())),
            "vpc-id" => vec![self.table.vpc_id.clone()],
            // Targets and associations of kinds that no table here has.
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.table.tags)
    }
}
