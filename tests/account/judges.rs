//! The printed policy under the eyes of others: cloudsplaining looks for what is too wide, cfn-lint and an HCL parser for what
//! is no template, and moto's IAM for actions that do not exist or do not suffice.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use vipkeeper::cli::PolicyFormat;
use vipkeeper::commands::policy::{Location, policy};
use vipkeeper::config::sources::Sources;

use crate::moto::{ACCOUNT, Moto, REGION, element};
use crate::template::TEMPLATE;
use crate::tools;

/// Every kind of binding; tables from which routes are deleted, and tables that are chosen by tag.
const EVERYTHING: &str = r#"
[[vip]]
delegate_ip = "20.0.0.50"
[vip.route]
tables = ["rtb-0123456789abcdef0", "rtb-0123456789abcdef1"]
on_release = "delete"
[[vip.also]]
address = "203.0.113.10"
[vip.also.elastic_ip]
allocation_id = "eipalloc-0123456789abcdef0"
[[vip]]
delegate_ip = "20.0.0.51"
anchor = "rtb-0123456789abcdef0"
[vip.route]
table_tags = { pgpool = "clients" }
[[vip]]
delegate_ip = "10.0.1.50"
[vip.secondary_ip]
"#;

/// The policy in a file, in this form.
fn printed(format: PolicyFormat) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vipkeeper.toml");
    fs::write(&file, EVERYTHING).unwrap();
    let config = Sources { file, environment: Vec::new(), flags: Vec::new() }.load().unwrap();
    let place = match format {
        PolicyFormat::Json => Location { region: Some(REGION.to_owned()), account: Some(ACCOUNT.to_owned()) },
        // A template finds both out.
        PolicyFormat::Cloudformation | PolicyFormat::Terraform => Location::default(),
    };
    let made = policy(&config, None, &"pgpool=pg1".parse().unwrap()).unwrap();
    let name = if format == PolicyFormat::Terraform { "policy.tf" } else { "policy.json" };
    let path = folder.path().join(name);
    fs::write(&path, made.written(format, &place).replace("SUBNET-ID", "subnet-0123456789abcdef0")).unwrap();
    (folder, path)
}

fn program(name: &str, skipped: &str) -> Option<Command> {
    let mut probe = Command::new(name);
    probe.arg("--help");
    tools::is_there(probe, name, skipped).then(|| Command::new(name))
}

#[test]
fn cloudsplaining_finds_nothing_but_what_iam_has_no_narrower_word_for() {
    let Some(mut judge) = program("cloudsplaining", "the printed policy, judged for what is too wide") else { return };
    let (_folder, file) = printed(PolicyFormat::Json);
    let said = tools::said(judge.arg("scan-policy-file").arg("--input-file").arg(file));
    assert!(said.contains("no results found"), "{said}");
    // It would find something.
    let (_folder, file) = printed(PolicyFormat::Json);
    let text = fs::read_to_string(&file).unwrap();
    let mut wide: Value = serde_json::from_str(&text).unwrap();
    for statement in wide["Statement"].as_array_mut().unwrap() {
        statement["Resource"] = "*".into();
        statement.as_object_mut().unwrap().remove("Condition");
    }
    fs::write(&file, wide.to_string()).unwrap();
    let mut judge = Command::new("cloudsplaining");
    let said = tools::said(judge.arg("scan-policy-file").arg("--input-file").arg(file));
    assert!(said.contains("Unrestricted Infrastructure Modification"), "{said}");
}

#[test]
fn templates_are_what_cfn_lint_takes() {
    let Some(mut judge) = program("cfn-lint", "the templates, judged by it") else { return };
    let (_folder, file) = printed(PolicyFormat::Cloudformation);
    tools::said(judge.arg(file).arg(TEMPLATE));
}

#[test]
fn the_terraform_file_is_hcl() {
    let Some(mut judge) = program("hcl2tojson", "the Terraform form, read by a parser") else { return };
    let (_folder, file) = printed(PolicyFormat::Terraform);
    let said = tools::said(judge.arg(file));
    // The second line names the file.
    let read: Value =
        serde_json::from_str(said.lines().next().unwrap()).unwrap_or_else(|error| panic!("{error}: {said}"));
    let resources = read["resource"].to_string();
    for part in ["aws_iam_role_policy", "jsonencode", "PointRoutes"] {
        assert!(resources.contains(part), "{part}: {resources}");
    }
}

#[test]
fn motos_iam_takes_the_policy() {
    let Some(moto) = Moto::start(None, "the printed policy, taken by an IAM") else { return };
    let (_folder, file) = printed(PolicyFormat::Json);
    let document = fs::read_to_string(file).unwrap();
    let make = |name: &str, document: &str| {
        moto.try_iam(&[("Action", "CreatePolicy"), ("PolicyName", name), ("PolicyDocument", document)])
    };
    let made = make("vipkeeper", &document).unwrap();
    assert_eq!(element(&made, "PolicyName"), "vipkeeper");
    // It takes not everything.
    let broken = document.replace("ec2:ReplaceRoute", "ReplaceRoute");
    assert!(make("broken", &broken).unwrap_err().contains("MalformedPolicyDocument"));
}
