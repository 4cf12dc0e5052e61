//! Tests of the writes: every field of the request for each action, and the results of answers that are not a plain
//! success.

use std::slice;

use super::canned::{Canned, CannedReply, accepted, error, operation, xml};
use super::{Tested, id};
use crate::action::{Action, Force, RouteCall};
use crate::binding::{Account, Anchor};
use crate::ec2::{Accepted, Class, Ec2Error, Ec2Write, Effect, Urgency};

const CHANGED: Accepted = Accepted { association: None, changed: true };
const NOTHING_TO_DO: Accepted = Accepted { association: None, changed: false };
const TAKEN: &str = "[10.0.1.50] is already assigned but move is not allowed.";
const NOT_HERE: &str = "Some of the specified addresses are not assigned to interface eni-0a";
const NO_ROUTE: &str = "There is no route defined for '20.0.0.50/32' in the route table. Use CreateRoute instead.";

/// Performs one action. `answers` are the answers to its requests in turn; all later requests are accepted.
async fn perform(action: &Action, answers: &[CannedReply]) -> (Result<Accepted, Ec2Error>, Vec<String>) {
    let answers = answers.to_vec();
    let endpoint =
        Canned::start(move |number, line| answers.get(number).cloned().unwrap_or_else(|| accepted(operation(line))))
            .await;
    let outcome = Tested::at(&endpoint).await.ec2.perform(action, Urgency::Urgent).await;
    (outcome, endpoint.requests())
}

/// Checks the requests of one action, one line for each request, and the action's result.
async fn check(action: Action, answers: &[CannedReply], expected: Accepted, requests: &[&str]) {
    // Boxed, because the future of a request is large.
    let (outcome, sent) = Box::pin(perform(&action, answers)).await;
    assert_eq!(outcome, Ok(expected), "{action}");
    assert_eq!(sent, requests, "{action}");
}

fn associate(force: Force) -> Action {
    Action::AssociateAddress { allocation: id("eipalloc-1"), eni: id("eni-0a"), private_ip: id("10.0.0.9"), force }
}

fn point(call: RouteCall) -> Action {
    Action::PointRoute {
        account: Account::Own,
        table: id("rtb-1"),
        destination: id("20.0.0.50/32"),
        eni: id("eni-0a"),
        call,
    }
}

fn delete_route() -> Action {
    Action::DeleteRoute {
        account: Account::Own,
        table: id("rtb-1"),
        destination: id("20.0.0.50/32"),
        eni: id("eni-0a"),
    }
}

fn assign(address: &str, force: Force) -> Action {
    Action::AssignAddress { eni: id("eni-0a"), address: id(address), force }
}

fn unassign(address: &str) -> Action {
    Action::UnassignAddress { eni: id("eni-0a"), address: id(address) }
}

fn enis(list: &[(&str, &str, &str)]) -> CannedReply {
    let items = list.iter().map(|(eni, vpc, address)| {
        #[expect(clippy::match_bool, reason = "two long answers side by side")]
        let address = match address.contains(':') {
            true => format!("<ipv6AddressesSet><item><ipv6Address>{address}</ipv6Address></item></ipv6AddressesSet>"),
            false => format!(
                "<privateIpAddressesSet><item><privateIpAddress>{address}</privateIpAddress></item>\
                 </privateIpAddressesSet>"
            ),
        };
        format!("<item><networkInterfaceId>{eni}</networkInterfaceId><vpcId>{vpc}</vpcId>{address}</item>")
    });
    let items: String = items.collect();
    xml("DescribeNetworkInterfaces", &format!("<networkInterfaceSet>{items}</networkInterfaceSet>"))
}

#[tokio::test]
async fn an_association_names_eni_and_address_and_says_whether_it_may_take() {
    let answer = [xml("AssociateAddress", "<return>true</return><associationId>eipassoc-9</associationId>")];
    let accepted = Accepted { association: Some(id("eipassoc-9")), changed: true };
    let request = "AssociateAddress AllocationId=eipalloc-1 AllowReassociation=true NetworkInterfaceId=eni-0a \
                   PrivateIpAddress=10.0.0.9";
    check(associate(Force::Take), &answer, accepted.clone(), &[request]).await;
    let request = request.replace("true", "false");
    check(associate(Force::IfFree), &answer, accepted, &[&request]).await;
}

#[tokio::test]
async fn a_release_names_the_association_and_a_gone_one_is_no_failure() {
    let action = || Action::DisassociateAddress { allocation: id("eipalloc-1"), association: id("eipassoc-9") };
    let request = ["DisassociateAddress AssociationId=eipassoc-9"];
    check(action(), &[], CHANGED, &request).await;
    let gone = [error(400, "InvalidAssociationID.NotFound", "does not exist")];
    check(action(), &gone, NOTHING_TO_DO, &request).await;
}

#[tokio::test]
async fn a_route_is_written_by_the_other_call_when_the_first_was_the_wrong_one() {
    let create = "CreateRoute DestinationCidrBlock=20.0.0.50/32 NetworkInterfaceId=eni-0a RouteTableId=rtb-1";
    let replace = "ReplaceRoute DestinationCidrBlock=20.0.0.50/32 NetworkInterfaceId=eni-0a RouteTableId=rtb-1";
    let exists = error(400, "RouteAlreadyExists", "The route identified by 20.0.0.50/32 already exists.");
    check(point(RouteCall::CreateOnly), &[], CHANGED, &[create]).await;
    check(point(RouteCall::CreateElseReplace), &[], CHANGED, &[create]).await;
    check(point(RouteCall::CreateElseReplace), slice::from_ref(&exists), CHANGED, &[create, replace]).await;
    check(point(RouteCall::ReplaceElseCreate), &[], CHANGED, &[replace]).await;
    for none in [error(400, "InvalidParameterValue", NO_ROUTE), error(400, "InvalidRoute.NotFound", "no route")] {
        check(point(RouteCall::ReplaceElseCreate), &[none], CHANGED, &[replace, create]).await;
    }

    let (outcome, sent) = perform(&point(RouteCall::CreateOnly), slice::from_ref(&exists)).await;
    assert_eq!((outcome.unwrap_err().class, sent.len()), (Class::Stale, 1));
    // The adapter switches to the other call only once. Otherwise two nodes, one that deletes and one that creates,
    // could keep each other busy for ever.
    let (outcome, sent) =
        perform(&point(RouteCall::ReplaceElseCreate), &[error(400, "InvalidParameterValue", NO_ROUTE), exists]).await;
    assert_eq!((outcome.unwrap_err().class, sent.len()), (Class::Stale, 2));
    // For another fault of the request, the adapter does not try the other call.
    let invalid = error(400, "InvalidParameterValue", "Value (eni-0a) for parameter is invalid.");
    let (outcome, sent) = perform(&point(RouteCall::ReplaceElseCreate), &[invalid]).await;
    assert_eq!((outcome.unwrap_err().class, sent.len()), (Class::Rejected, 1));
}

#[tokio::test]
async fn an_ipv6_route_has_its_own_field_and_no_host_bits() {
    let action = Action::PointRoute {
        account: Account::Own,
        table: id("rtb-1"),
        destination: id("2001:db8::5/64"),
        eni: id("eni-0a"),
        call: RouteCall::CreateOnly,
    };
    let request = "CreateRoute DestinationIpv6CidrBlock=2001:db8::/64 NetworkInterfaceId=eni-0a RouteTableId=rtb-1";
    check(action, &[], CHANGED, &[request]).await;
}

#[tokio::test]
async fn a_route_is_deleted_only_if_it_still_leads_here() {
    let read = "DescribeRouteTables Filter.1.Name=route-table-id Filter.1.Value.1=rtb-1 MaxResults=100";
    let delete = "DeleteRoute DestinationCidrBlock=20.0.0.50/32 RouteTableId=rtb-1";
    let table = |eni: &str| {
        let route = format!(
            "<destinationCidrBlock>20.0.0.50/32</destinationCidrBlock><networkInterfaceId>{eni}</networkInterfaceId>\
             <origin>CreateRoute</origin><state>active</state>"
        );
        let table = format!("<routeTableId>rtb-1</routeTableId><routeSet><item>{route}</item></routeSet>");
        xml("DescribeRouteTables", &format!("<routeTableSet><item>{table}</item></routeTableSet>"))
    };
    check(delete_route(), &[table("eni-0a")], CHANGED, &[read, delete]).await;
    check(delete_route(), &[table("eni-0b")], NOTHING_TO_DO, &[read]).await;
    check(delete_route(), &[xml("DescribeRouteTables", "")], NOTHING_TO_DO, &[read]).await;
    let gone = error(400, "InvalidRoute.NotFound", "no such route");
    check(delete_route(), &[table("eni-0a"), gone], NOTHING_TO_DO, &[read, delete]).await;
    let (outcome, sent) = perform(&delete_route(), &[error(503, "Unavailable", "busy")]).await;
    assert_eq!((outcome.unwrap_err().effect, sent.len()), (Effect::None, 1), "nothing is deleted unread");
}

#[tokio::test]
async fn a_private_address_is_moved_by_one_call() {
    let request =
        "AssignPrivateIpAddresses AllowReassignment=true NetworkInterfaceId=eni-0a PrivateIpAddress.1=10.0.1.50";
    check(assign("10.0.1.50", Force::Take), &[], CHANGED, &[request]).await;
    let request = request.replace("true", "false");
    check(assign("10.0.1.50", Force::IfFree), &[], CHANGED, &[&request]).await;

    let look = "DescribeNetworkInterfaces Filter.1.Name=network-interface-id Filter.1.Value.1=eni-0a MaxResults=1000";
    let conflict = error(400, "InvalidParameterValue", TAKEN);
    let ours = enis(&[("eni-0a", "vpc-1", "10.0.1.50")]);
    check(assign("10.0.1.50", Force::IfFree), &[conflict.clone(), ours], NOTHING_TO_DO, &[&request, look]).await;
    let not_ours = enis(&[("eni-0a", "vpc-1", "10.0.1.7")]);
    let (outcome, _) = perform(&assign("10.0.1.50", Force::IfFree), &[conflict, not_ours]).await;
    let refused = outcome.unwrap_err();
    assert_eq!((refused.class, refused.effect), (Class::Stale, Effect::None));
}

#[tokio::test]
async fn an_ipv6_address_is_taken_from_its_holder_in_the_same_vpc() {
    let ip = "2001:db8::50";
    let on = |eni: &str, verb: &str| format!("{verb} Ipv6Addresses.1={ip} NetworkInterfaceId={eni}");
    let assign_here = on("eni-0a", "AssignIpv6Addresses");
    let unassign_there = on("eni-0b", "UnassignIpv6Addresses");
    check(assign(ip, Force::Take), &[], CHANGED, &[&assign_here]).await;

    let holders = [("eni-0c", "vpc-2", ip), ("eni-0b", "vpc-1", ip)];
    let (outcome, sent) = moved(Force::Take, &holders).await;
    assert_eq!(outcome, Ok(CHANGED));
    assert_eq!([&sent[0], &sent[3], &sent[4]], [&assign_here, &unassign_there, &assign_here]);
    assert_eq!(sent.len(), 5);

    let (outcome, sent) = moved(Force::IfFree, &holders).await;
    assert_eq!((outcome.unwrap_err().class, sent.len()), (Class::Stale, 3), "somebody has it: left alone");
    let (outcome, sent) = moved(Force::Take, &[("eni-0c", "vpc-2", ip)]).await;
    assert_eq!((outcome.unwrap_err().class, sent.len()), (Class::Stale, 3), "another VPC's is another address");
    let (outcome, sent) = moved(Force::Take, &[("eni-0a", "vpc-1", ip)]).await;
    assert_eq!((outcome, sent.len()), (Ok(NOTHING_TO_DO), 3), "it is here already");
}

/// Assigns an IPv6 address that `holders` have. Only the first assign call is refused.
async fn moved(
    force: Force,
    holders: &[(&'static str, &'static str, &'static str)],
) -> (Result<Accepted, Ec2Error>, Vec<String>) {
    let holders = holders.to_vec();
    let endpoint = Canned::start(move |number, line| match operation(line) {
        "AssignIpv6Addresses" if number == 0 => error(400, "InvalidIPAddress.InUse", "taken"),
        "DescribeNetworkInterfaces" if line.contains("ipv6-addresses.ipv6-address") => enis(&holders),
        "DescribeNetworkInterfaces" => {
            let own = holders.iter().copied().find(|(eni, ..)| *eni == "eni-0a");
            enis(&[own.unwrap_or(("eni-0a", "vpc-1", "2001:db8::1"))])
        }
        operation => accepted(operation),
    })
    .await;
    let action = assign("2001:db8::50", force);
    let outcome = Tested::at(&endpoint).await.ec2.perform(&action, Urgency::Urgent).await;
    (outcome, endpoint.requests())
}

#[tokio::test]
async fn unassigning_what_is_not_there_is_no_failure() {
    let v4 = "UnassignPrivateIpAddresses NetworkInterfaceId=eni-0a PrivateIpAddress.1=10.0.1.50";
    let v6 = "UnassignIpv6Addresses Ipv6Addresses.1=2001:db8::50 NetworkInterfaceId=eni-0a";
    for (address, request) in [("10.0.1.50", v4), ("2001:db8::50", v6)] {
        check(unassign(address), &[], CHANGED, &[request]).await;
        check(unassign(address), &[error(400, "InvalidParameterValue", NOT_HERE)], NOTHING_TO_DO, &[request]).await;
        let (outcome, _) = perform(&unassign(address), &[error(400, "InvalidParameterValue", "other")]).await;
        assert_eq!(outcome.unwrap_err().class, Class::Rejected);
    }
}

#[tokio::test]
async fn the_check_is_switched_off_and_the_claim_written_by_one_call_each() {
    let action = Action::DisableSourceDestCheck { eni: id("eni-0a") };
    let request = "ModifyNetworkInterfaceAttribute NetworkInterfaceId=eni-0a SourceDestCheck.Value=false";
    check(action, &[], CHANGED, &[request]).await;

    let anchor = Anchor::ElasticIp(id("eipalloc-1"));
    let (key, value) = ("vipkeeper/35.163.178.3/i-0aa".to_owned(), "1763812800000 2026-11-22T12:00:00Z".to_owned());
    let request = format!("CreateTags ResourceId.1=eipalloc-1 Tag.1.Key={key} Tag.1.Value={value}");
    check(Action::RecordClaim { anchor, key, value }, &[], CHANGED, &[&request]).await;
}

#[tokio::test]
async fn what_is_for_the_kernel_is_not_sent() {
    let action = Action::AddLocalAddress { interface: "eth0".to_owned(), address: id("20.0.0.50") };
    let (outcome, sent) = perform(&action, &[]).await;
    assert_eq!((outcome.unwrap_err().class, sent.len()), (Class::Rejected, 0));
}
