//! The policies of configurations that the README does not show, and the other forms.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::cli::PolicyFormat;
use crate::config::{ElasticIpConfig, SecondaryIpConfig, TableRef};

const SHARED: &str = "arn:aws-cn:iam::210987654321:role/shared";

fn tag() -> NodeTag {
    "pgpool=pg1".parse().unwrap()
}

fn address(text: &str) -> AddressConfig {
    AddressConfig { address: text.parse().unwrap(), elastic_ip: None, route: None, secondary_ip: None }
}

fn vip(addresses: Vec<AddressConfig>) -> VipConfig {
    VipConfig { delegate_ip: addresses[0].address, addresses, anchor: None }
}

fn routed(text: &str, tables: Tables, on_release: OnRelease) -> AddressConfig {
    AddressConfig { route: Some(RouteConfig { tables, interface: None, on_release }), ..address(text) }
}

fn table(id: &str, account: Account) -> TableRef {
    TableRef { id: id.parse().unwrap(), account }
}

fn elastic(text: &str, allocation: Option<&str>) -> AddressConfig {
    let allocation_id = allocation.map(|id| id.parse().unwrap());
    let elastic_ip = Some(ElasticIpConfig { allocation_id, interface: None, private_ip: None });
    AddressConfig { elastic_ip, ..address(text) }
}

fn by_subnet(text: &str) -> AddressConfig {
    AddressConfig { secondary_ip: Some(SecondaryIpConfig { interface: None }), ..address(text) }
}

fn place() -> Location {
    Location { region: Some("eu-central-1".to_owned()), account: Some("123456789012".to_owned()) }
}

/// The statements by their names.
fn statements(config: &Config, role: Option<&str>) -> BTreeMap<String, Value> {
    let text = policy(config, role, &tag()).unwrap().written(PolicyFormat::Json, &place());
    let document: Value = serde_json::from_str(&text).unwrap();
    let all = document["Statement"].as_array().unwrap().iter();
    all.map(|one| (one["Sid"].as_str().unwrap().to_owned(), one.clone())).collect()
}

fn names(statements: &BTreeMap<String, Value>) -> Vec<&str> {
    statements.keys().map(String::as_str).collect()
}

#[test]
fn tables_of_another_account_are_left_to_its_role() {
    let shared = Account::Role(SHARED.to_owned());
    let ids = Tables::Ids(vec![table("rtb-0a", Account::Own), table("rtb-0b", shared)]);
    let config = Config::with_vips(vec![vip(vec![routed("20.0.0.50", ids, OnRelease::Keep)])]);
    let own = statements(&config, None);
    assert_eq!(names(&own), ["AssumeRoles", "Look", "PointRoutes", "RecordClaims", "SourceDestCheckOff"]);
    assert_eq!(own["PointRoutes"]["Resource"], "arn:aws:ec2:eu-central-1:123456789012:route-table/rtb-0a");
    assert_eq!(own["AssumeRoles"]["Resource"], SHARED);
    let theirs = statements(&config, Some(SHARED));
    assert_eq!(names(&theirs), ["Look", "PointRoutes", "RecordClaims"], "a node with another anchor may be there");
    assert_eq!(theirs["RecordClaims"]["Resource"], theirs["PointRoutes"]["Resource"]);
    assert_eq!(theirs["Look"]["Action"], "ec2:DescribeRouteTables");
    assert_eq!(theirs["PointRoutes"]["Resource"], "arn:aws-cn:ec2:eu-central-1:210987654321:route-table/rtb-0b");
    let unknown = policy(&config, Some("arn:aws:iam::1:role/x"), &tag()).unwrap_err();
    assert!(unknown.ends_with(SHARED), "{unknown}");
}

#[test]
fn the_anchor_of_another_accounts_table_is_written_by_its_role() {
    let ids = Tables::Ids(vec![table("rtb-0b", Account::Role(SHARED.to_owned()))]);
    let config = Config::with_vips(vec![vip(vec![routed("20.0.0.50", ids, OnRelease::Keep)])]);
    assert_eq!(names(&statements(&config, None)), ["AssumeRoles", "Look", "SourceDestCheckOff"]);
    assert_eq!(names(&statements(&config, Some(SHARED))), ["Look", "PointRoutes", "RecordClaims"]);
}

#[test]
fn a_role_for_everything_takes_everything_from_the_instances_role() {
    let own = "arn:aws:iam::123456789012:role/vipkeeper";
    let mut config = Config::with_vips(vec![vip(vec![by_subnet("10.0.1.50")])]);
    config.aws.assume_role_arn = Some(own.to_owned());
    assert_eq!(names(&statements(&config, None)), ["AssumeRoles"]);
    assert_eq!(names(&statements(&config, Some(own))), ["Look", "MoveBetweenInterfaces", "RecordClaims"]);
}

#[test]
fn tables_that_are_chosen_by_tags_are_allowed_by_the_same_tags() {
    let tags = BTreeMap::from([("Name".to_owned(), "private".to_owned()), ("team".to_owned(), "${db}".to_owned())]);
    let chosen = Tables::Tagged { tags, account: Account::Own };
    let vips =
        vec![vip(vec![routed("20.0.0.50", chosen, OnRelease::Delete), elastic("203.0.113.10", Some("eipalloc-0a"))])];
    let statements = statements(&Config::with_vips(vips), None);
    let point = &statements["PointChosenRoutes"];
    assert_eq!(point["Action"], json!(["ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute"]));
    assert_eq!(point["Resource"], "arn:aws:ec2:eu-central-1:123456789012:route-table/*");
    let wanted = json!({"StringEquals": {"aws:ResourceTag/Name": "private", "aws:ResourceTag/team": "${$}{db}"}});
    assert_eq!(point["Condition"], wanted, "the tag's value is no variable of IAM");
    let anchor = &statements["RecordClaims"]["Resource"];
    assert_eq!(anchor, "arn:aws:ec2:eu-central-1:123456789012:elastic-ip/eipalloc-0a");
    let copies = &statements["RecordClaimsOnChosen"];
    assert_eq!(copies["Resource"], point["Resource"]);
    assert_eq!(copies["Condition"]["StringEquals"], wanted["StringEquals"]);
    assert_eq!(copies["Condition"]["ForAllValues:StringLike"]["aws:TagKeys"], "vipkeeper/20.0.0.50/*");
}

#[test]
fn each_anchor_takes_only_the_keys_of_its_vips() {
    let vips = [by_subnet("10.0.1.50"), by_subnet("10.0.1.51"), elastic("203.0.113.10", Some("eipalloc-0a"))];
    let mut config = Config::with_vips(vips.map(|address| vip(vec![address])).to_vec());
    let all = statements(&config, None);
    let keys = |sid: &str| all[sid]["Condition"]["ForAllValues:StringLike"]["aws:TagKeys"].clone();
    assert_eq!(keys("RecordClaims"), json!(["vipkeeper/10.0.1.50/*", "vipkeeper/10.0.1.51/*"]));
    assert_eq!(keys("RecordClaims2"), "vipkeeper/203.0.113.10/*");
    config.claims = ClaimMode::Off;
    assert!(!names(&statements(&config, None)).iter().any(|name| name.starts_with("Record")));
}

#[test]
fn a_template_finds_region_and_account_and_asks_for_what_is_open() {
    let config = Config::with_vips(vec![vip(vec![elastic("203.0.113.10", None)])]);
    let made = policy(&config, None, &tag()).unwrap();
    let open =
        |format| -> Vec<String> { made.open(format, &Location::default()).into_iter().map(|(name, _)| name).collect() };
    let allocation = "ALLOCATION-ID-OF-203.0.113.10";
    assert_eq!(open(PolicyFormat::Json), ["REGION", "ACCOUNT", allocation]);
    assert_eq!(open(PolicyFormat::Terraform), [allocation]);

    let template = made.written(PolicyFormat::Cloudformation, &Location::default());
    let template: Value = serde_json::from_str(&template).unwrap();
    let parameters: BTreeSet<_> = template["Parameters"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(parameters, ["AllocationIdOf203x0x113x10", "RoleName"].map(str::to_owned).into());
    let document = &template["Resources"]["VipkeeperPolicy"]["Properties"]["PolicyDocument"];
    let arn = "arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:elastic-ip/${AllocationIdOf203x0x113x10}";
    assert_eq!(document["Statement"][1]["Resource"], json!({ "Fn::Sub": arn }));

    let file = made.written(PolicyFormat::Terraform, &Location::default());
    for part in [
        "data \"aws_caller_identity\" \"current\" {}\n",
        "variable \"allocation_id_of_203_0_113_10\" {\n",
        "${data.aws_caller_identity.current.account_id}:elastic-ip/${var.allocation_id_of_203_0_113_10}\"",
    ] {
        assert!(file.contains(part), "{part} in\n{file}");
    }
    let known = made.written(PolicyFormat::Terraform, &place());
    assert!(!known.contains("data \""), "{known}");
}

/// The policy of one VIP with so many tables.
fn with_tables(count: usize, on_release: OnRelease) -> Policy {
    let ids = (0..count).map(|number| table(&format!("rtb-{number:017x}"), Account::Own)).collect();
    let config = Config::with_vips(vec![vip(vec![routed("20.0.0.50", Tables::Ids(ids), on_release)])]);
    policy(&config, None, &tag()).unwrap()
}

#[test]
fn a_policy_that_iam_refuses_for_its_size_is_told_with_the_size_and_the_limit() {
    let all = [PolicyFormat::Json, PolicyFormat::Cloudformation, PolicyFormat::Terraform];
    // The number of characters as IAM counts them, by hand.
    let counted = |made: &Policy| {
        let text = made.written(PolicyFormat::Json, &place());
        text.split_whitespace().map(str::len).sum::<usize>()
    };
    let mut limits = Vec::new();
    for count in 1..100 {
        let made = with_tables(count, OnRelease::Keep);
        let size = counted(&made);
        let advice = all.map(|format| made.size_advice(format, &place()));
        for told in advice.iter().flatten() {
            assert!(told.contains(&format!("has {size} characters")), "{told}");
        }
        let limit = advice.map(|told| told.map(|told| if told.contains("managed policies") { 10_240 } else { 6_144 }));
        let wanted = match size {
            0..=6_144 => [None, None, None],
            6_145..=10_240 => [Some(6_144), None, None],
            _ => [Some(10_240); 3],
        };
        assert_eq!(limit, wanted, "{count} tables, {size} characters");
        limits.push(limit);
    }
    limits.dedup();
    assert_eq!(limits.len(), 3, "each limit is met");
    // Unknown places count as if they were known.
    let open =
        with_tables(99, OnRelease::Keep).size_advice(PolicyFormat::Cloudformation, &Location::default()).unwrap();
    let longest = Location { region: Some("ap-southeast-1".to_owned()), ..place() };
    assert_eq!(Some(open), with_tables(99, OnRelease::Keep).size_advice(PolicyFormat::Json, &longest));
}

#[test]
fn tables_whose_routes_are_all_deleted_are_listed_for_routes_once() {
    let sids = |made: &Policy| made.statements.iter().map(|one| one.sid.clone()).collect::<Vec<_>>();
    let whole = with_tables(3, OnRelease::Delete);
    assert_eq!(sids(&whole), ["Look", "PointRoutes", "SourceDestCheckOff", "RecordClaims"]);
    assert_eq!(whole.statements[1].actions, ["ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute"]);
    let ids = |id: &str| Tables::Ids(vec![table(id, Account::Own)]);
    let addresses = vec![
        routed("20.0.0.50", ids("rtb-0a"), OnRelease::Keep),
        routed("20.0.0.51", ids("rtb-0b"), OnRelease::Delete),
    ];
    let some = policy(&Config::with_vips(vec![vip(addresses)]), None, &tag()).unwrap();
    assert_eq!(sids(&some), ["Look", "PointRoutes", "DeleteRoutes", "SourceDestCheckOff", "RecordClaims"]);
    assert_eq!((some.statements[1].resources.len(), some.statements[2].resources.len()), (2, 1));
}

#[test]
fn a_template_makes_an_inline_policy_of_the_role() {
    let template = with_tables(40, OnRelease::Keep).written(PolicyFormat::Cloudformation, &Location::default());
    let template: Value = serde_json::from_str(&template).unwrap();
    let resource = &template["Resources"]["VipkeeperPolicy"];
    assert_eq!(resource["Type"], "AWS::IAM::RolePolicy", "a managed policy of 40 tables is too long");
    assert_eq!(resource["Properties"]["RoleName"], json!({ "Ref": "RoleName" }));
}

#[test]
fn no_form_takes_a_part_of_a_key_for_a_variable() {
    let tags = BTreeMap::from([("${team}%{x}".to_owned(), "db".to_owned())]);
    let chosen = Tables::Tagged { tags, account: Account::Own };
    let config = Config::with_vips(vec![vip(vec![routed("20.0.0.50", chosen, OnRelease::Keep)])]);
    let nodes = NodeTag { key: "${node}".to_owned(), value: "pg1".to_owned() };
    let made = policy(&config, None, &nodes).unwrap();
    for (format, keys) in [
        (PolicyFormat::Json, ["\"aws:ResourceTag/${team}%{x}\"", "\"aws:ResourceTag/${node}\""]),
        (PolicyFormat::Cloudformation, ["\"aws:ResourceTag/${team}%{x}\"", "\"aws:ResourceTag/${node}\""]),
        (PolicyFormat::Terraform, ["\"aws:ResourceTag/$${team}%%{x}\"", "\"aws:ResourceTag/$${node}\""]),
    ] {
        let text = made.written(format, &place());
        for key in keys {
            assert!(text.contains(key), "{key} in\n{text}");
        }
    }
}
