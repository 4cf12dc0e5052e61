//! The permissions of the lab's nodes. Each node may do in EC2 exactly what the policy allows that `vipkeeper policy` prints for
//! this node's configuration, and the embedded EC2 judges each of its calls by it. The lab's own changes have no caller, and
//! the scripts of Pgpool's guide need other permissions: neither is judged.

use std::collections::BTreeSet;
use std::path::Path;

use ec2_endpoint::service::Mark;
use ec2_endpoint::{Account, Operation, Policy, TagChange, TagSpec};

use super::machine::clean;
use super::vpc::{ELASTIC_IP, NODES, REGION, Vpc};

/// The tag that the README puts on the nodes, and the default of `vipkeeper policy --node-tag`.
const NODE_TAG: (&str, &str) = ("pgpool", "pg1");
/// The codes of EC2 and of STS for a call that no statement allows.
const DENIED: [&str; 2] = ["UnauthorizedOperation", "AccessDenied"];

/// Marks a node's instance and its interfaces, as the README has it done.
pub fn mark_node(account: &mut Account, resources: Vec<String>) {
    let (key, value) = NODE_TAG;
    let tags = vec![TagSpec { key: key.to_owned(), value: Some(value.to_owned()) }];
    account.apply(&Operation::CreateTags(TagChange { resources, tags, dry_run: false })).unwrap();
}

/// The policy that the program prints for this configuration, with the values put in that the program says to put in.
pub fn printed(vpc: &Vpc, configuration: &Path) -> Policy {
    let account = vpc.endpoint.service().account().id().to_owned();
    let mut command = clean(env!("CARGO_BIN_EXE_vipkeeper"));
    command.arg("--config").arg(configuration);
    command.args(["policy", "--region", REGION, "--account", &account]);
    let done = command.output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    vpc.policy_from(String::from_utf8(done.stdout).unwrap(), &said)
}

impl Vpc {
    /// A printed policy, with the values put in that stderr asked for: `put in the value of NAME: how to find it`.
    pub fn policy_from(&self, printed: String, asked: &str) -> Policy {
        let names = asked.lines().filter_map(|line| line.split_once("put in the value of ")?.1.split_once(": "));
        let filled = names.fold(printed, |text, (name, _)| text.replace(name, &self.value_of(name)));
        filled.parse().unwrap_or_else(|error| panic!("{error}:\n{filled}"))
    }

    fn value_of(&self, name: &str) -> String {
        if name == format!("ALLOCATION-ID-OF-{ELASTIC_IP}") {
            return self.allocation.clone();
        }
        assert_eq!(name, "SUBNET-ID", "the lab knows no other value");
        let service = self.endpoint.service();
        service.account().eni(&self.instances[0].eni).unwrap().subnet_id.clone()
    }

    /// From now on this node may do what the policy allows, and nothing else.
    pub fn permit(&self, node: &str, policy: Policy) {
        self.endpoint.service().set_policy(node, Some(policy));
    }

    /// The calls of nodes that EC2 denied since the lab began: node, and operation.
    pub fn denied(&self) -> BTreeSet<(String, &'static str)> {
        let service = self.endpoint.service();
        let is_denied = |code: &Option<String>| code.as_deref().is_some_and(|code| DENIED.contains(&code));
        let calls = service.calls_since(Mark::at(0)).filter(|call| is_denied(&call.code));
        let of_nodes = calls.filter(|call| NODES.contains(&call.caller.name.as_str()));
        of_nodes.map(|call| (call.caller.name.clone(), call.operation)).collect()
    }
}
