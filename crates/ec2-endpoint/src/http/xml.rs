//! The query protocol's way out: answers and errors as XML. Element names after EC2's API model, version 2016-11-15,
//! and STS's, version 2011-06-15.

mod describe;
mod writer;

use crate::{Answer, ApiError, Caller, Operation};

use super::keys::Credentials;
use writer::Xml;

const EC2_NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// An EC2 answer.
pub(crate) fn answer(operation: &Operation, answer: &Answer, request_id: &str) -> String {
    let name = format!("{}Response", operation.name());
    Xml::document(&name, EC2_NAMESPACE, |xml| {
        xml.text("requestId", request_id);
        content(xml, answer);
    })
}

fn content(xml: &mut Xml, answer: &Answer) {
    match answer {
        Answer::Done => xml.text("return", true),
        Answer::Associated { association_id } => {
            xml.text("return", true);
            xml.text("associationId", association_id);
        }
        Answer::PrivateIpsAssigned { network_interface_id, addresses } => {
            xml.text("networkInterfaceId", network_interface_id);
            xml.list("assignedPrivateIpAddressesSet", addresses, |xml, address| xml.text("privateIpAddress", address));
            xml.text("return", true);
        }
        Answer::Ipv6Assigned { network_interface_id, addresses } => {
            xml.text("networkInterfaceId", network_interface_id);
            xml.values("assignedIpv6Addresses", addresses);
        }
        Answer::Ipv6Unassigned { network_interface_id, addresses } => {
            xml.text("networkInterfaceId", network_interface_id);
            xml.values("unassignedIpv6Addresses", addresses);
        }
        Answer::Addresses(addresses) => xml.list("addressesSet", addresses, describe::address),
        Answer::RouteTables(page) => xml.page("routeTableSet", page, describe::route_table),
        Answer::NetworkInterfaces(page) => xml.page("networkInterfaceSet", page, describe::network_interface),
        Answer::Tags(page) => xml.page("tagSet", page, describe::tag),
        Answer::Instances(page) => xml.page("reservationSet", page, describe::reservation),
        Answer::Subnets(page) => xml.page("subnetSet", page, describe::subnet),
        Answer::Vpcs(page) => xml.page("vpcSet", page, describe::vpc),
        Answer::InstanceTypes(types) => xml.list("instanceTypeSet", types, describe::instance_type),
        Answer::SecurityGroups(page) => xml.page("securityGroupInfo", page, describe::security_group),
        // Answers of STS, which have a format of their own.
        Answer::RoleAssumed { .. } | Answer::CallerIdentity { .. } => {}
    }
}

/// STS API reference: AssumeRole.
pub(crate) fn role_assumed(role_arn: &str, session_name: &str, credentials: &Credentials, request_id: &str) -> String {
    sts("AssumeRole", request_id, |xml| {
        xml.element("Credentials", |xml| {
            xml.text("AccessKeyId", &credentials.access_key_id);
            xml.text("SecretAccessKey", &credentials.secret_access_key);
            xml.text("SessionToken", &credentials.session_token);
            xml.text("Expiration", &credentials.expiration);
        });
        xml.element("AssumedRoleUser", |xml| {
            xml.text("AssumedRoleId", format_args!("AROAEMBEDDEDENDPOINT:{session_name}"));
            xml.text("Arn", format_args!("{}/{session_name}", session_arn(role_arn)));
        });
    })
}

/// STS API reference: GetCallerIdentity.
pub(crate) fn caller_identity(account_id: &str, caller: &Caller, request_id: &str) -> String {
    let name = &caller.name;
    let arn = match &caller.role {
        Some(role_arn) => format!("{}/{name}", session_arn(role_arn)),
        None => format!("arn:aws:iam::{account_id}:user/{name}"),
    };
    sts("GetCallerIdentity", request_id, |xml| {
        xml.text("UserId", name);
        xml.text("Account", account_id);
        xml.text("Arn", arn);
    })
}

/// `arn:aws:iam::123456789012:role/path/name` as the beginning of the ARNs of its sessions.
fn session_arn(role_arn: &str) -> String {
    let account = role_arn.split(':').nth(4).unwrap_or_default();
    let name = role_arn.rsplit('/').next().unwrap_or_default();
    format!("arn:aws:sts::{account}:assumed-role/{name}")
}

fn sts(action: &str, request_id: &str, result: impl FnOnce(&mut Xml)) -> String {
    Xml::document(&format!("{action}Response"), STS_NAMESPACE, |xml| {
        xml.element(&format!("{action}Result"), result);
        xml.element("ResponseMetadata", |xml| xml.text("RequestId", request_id));
    })
}

/// EC2's error document. EC2 API reference, "Error codes": example of an error response.
pub(crate) fn error(error: &ApiError, request_id: &str) -> String {
    Xml::plain_document("Response", |xml| {
        xml.element("Errors", |xml| {
            xml.element("Error", |xml| {
                xml.text("Code", &error.code);
                xml.text("Message", &error.message);
            });
        });
        xml.text("RequestID", request_id);
    })
}

/// STS's error document.
pub(crate) fn sts_error(error: &ApiError, request_id: &str) -> String {
    Xml::document("ErrorResponse", STS_NAMESPACE, |xml| {
        xml.element("Error", |xml| {
            xml.text("Type", if error.status < 500 { "Sender" } else { "Receiver" });
            xml.text("Code", &error.code);
            xml.text("Message", &error.message);
        });
        xml.text("RequestId", request_id);
    })
}
