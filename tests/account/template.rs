//! The template of a cluster, made by moto's CloudFormation. moto launches its instances without the launch template: ENIs
//! have neither its tags nor its security group, and both are put there by hand. It ignores private names of VPC endpoints,
//! and carries dry runs of routes out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vipkeeper::cli::PolicyFormat;
use vipkeeper::commands::policy::{Location, policy};
use vipkeeper::config::Config;
use vipkeeper::config::sources::Sources;
use vipkeeper::pgpool::conf::Conf;

use crate::moto::{ACCOUNT, IMAGE, Moto, REGION, element, elements};
use crate::stage::Stage;
use crate::tools;

pub const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/cloudformation/cluster.yaml");
const METHODS: [&str; 2] = ["elastic-ip", "route"];
const SHA256: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

/// A stack of the template, in moto.
struct Stack<'a> {
    moto: &'a Moto<'a>,
    name: &'static str,
    outputs: BTreeMap<String, String>,
}

impl<'a> Stack<'a> {
    fn create(moto: &'a Moto<'a>, method: &'static str) -> Self {
        let template = fs::read_to_string(TEMPLATE).unwrap();
        let template = template.replace("/aws/service/debian/release/12/latest/amd64", IMAGE);
        let mut form = vec![("Action", "CreateStack"), ("StackName", method), ("TemplateBody", template.as_str())];
        let keys = |number| ["Key", "Value"].map(|part| format!("Parameters.member.{number}.Parameter{part}"));
        let parameters =
            [("Method", method), ("PackageUrl", "https://example.com/vipkeeper.deb"), ("PackageSha256", SHA256)];
        let keys: Vec<_> = (1..=parameters.len()).map(keys).collect();
        for ([key, value], (name, text)) in keys.iter().zip(parameters) {
            form.extend([(key.as_str(), name), (value.as_str(), text)]);
        }
        moto.cloudformation(&form);
        let shown = moto.cloudformation(&[("Action", "DescribeStacks"), ("StackName", method)]);
        assert_eq!(element(&shown, "StackStatus"), "CREATE_COMPLETE", "{shown}");
        let [keys, values] = ["OutputKey", "OutputValue"].map(|name| elements(&shown, name));
        let outputs = keys.into_iter().zip(values).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { moto, name: method, outputs }
    }

    fn delete(&self) {
        self.moto.cloudformation(&[("Action", "DeleteStack"), ("StackName", self.name)]);
    }

    /// The policy of the nodes' role.
    fn policy(&self) -> Value {
        let form =
            [("Action", "GetRolePolicy"), ("RoleName", self.outputs["Role"].as_str()), ("PolicyName", "vipkeeper")];
        let shown = self.moto.iam(&form);
        // moto writes the policy as Python writes it, and then as XML does.
        let text = element(&shown, "PolicyDocument").replace("&#39;", "\"").replace('\'', "\"").replace("&quot;", "\"");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The nodes' user data.
    fn user_data(&self, folder: &Path) -> String {
        let id = self.outputs["LaunchTemplate"].as_str();
        let form = [("LaunchTemplateId", id), ("LaunchTemplateVersion.1", "$Latest")];
        let shown = self.moto.ec2(&[&[("Action", "DescribeLaunchTemplateVersions")][..], &form].concat());
        let file = folder.join("user-data.base64");
        fs::write(&file, element(&shown, "userData")).unwrap();
        tools::said(Command::new("base64").arg("--decode").arg(file))
    }

    /// Runs the user data of the node with this address, with folders of its own in place of /etc and /root, and programs
    /// that do nothing in place of those that change the machine.
    fn boot(&self, address: &str) -> Booted {
        let folder = tempfile::tempdir().unwrap();
        let text = self.user_data(folder.path());
        let script = folder.path().join("user-data");
        fs::write(&script, &text).unwrap();
        tools::said(Command::new("bash").arg("-n").arg(&script));
        let mut probe = Command::new("shellcheck");
        probe.arg("--version");
        if tools::is_there(probe, "shellcheck", "the user data, judged by it") {
            tools::said(Command::new("shellcheck").arg(&script));
        }
        for below in ["etc/vipkeeper", "etc/pgpool2", "root", "bin"] {
            fs::create_dir_all(folder.path().join(below)).unwrap();
        }
        for stub in ["apt-get", "curl", "dpkg", "sha256sum", "systemctl", "vipkeeper", "ip"] {
            let file = folder.path().join("bin").join(stub);
            // The first line is what `ip` says; the others tell what they were asked.
            let log = folder.path().join("called");
            let body =
                format!("echo '2: eth0 inet {address}/24'\ncat >/dev/null\necho {stub} \"$@\" >>{}\n", log.display());
            fs::write(&file, format!("#!/bin/sh\n{body}")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let place = folder.path().display();
        let here = text.replace("/etc/", &format!("{place}/etc/")).replace("/root/", &format!("{place}/root/"));
        fs::write(&script, here).unwrap();
        let path = format!("{place}/bin:/usr/bin:/bin");
        let done = Command::new("bash").arg(&script).env("PATH", path).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        Booted {
            toml: read("etc/vipkeeper/vipkeeper.toml"),
            pgpool_conf: read("etc/pgpool2/pgpool.conf"),
            node_id: read("etc/pgpool2/pgpool_node_id"),
            called: read("called"),
        }
    }
}

/// The files that the user data leaves on a node, and the programs that it called.
struct Booted {
    toml: String,
    pgpool_conf: String,
    node_id: String,
    called: String,
}

impl Booted {
    fn config(&self) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vipkeeper.toml");
        fs::write(&file, &self.toml).unwrap();
        Sources { file, environment: Vec::new(), flags: Vec::new() }.load().unwrap()
    }
}

#[test]
fn a_stack_has_the_policy_that_the_program_prints_for_the_configuration_that_its_nodes_write() {
    let Some(moto) = Moto::start(None, "the template, made in moto") else { return };
    for method in METHODS {
        let stack = Stack::create(&moto, method);
        let booted = stack.boot("10.0.2.10");
        let place = Location { region: Some(REGION.to_owned()), account: Some(ACCOUNT.to_owned()) };
        let printed = policy(&booted.config(), None, &"pgpool=pg1".parse().unwrap()).unwrap();
        let printed: Value = serde_json::from_str(&printed.written(PolicyFormat::Json, &place)).unwrap();
        assert_eq!(stack.policy(), printed, "{method}");
        let vip = &stack.outputs["DelegateIp"];
        assert!(booted.config().vips[0].delegate_ip.to_string() == *vip, "{method}: {vip}");

        let conf = Conf::parse(&booted.pgpool_conf);
        let nodes: Vec<_> = conf.nodes().iter().map(|node| (node.number, node.host.clone())).collect();
        let host = |number: u32| (number, format!("10.0.{}.10", number + 1));
        assert_eq!(nodes, [host(0), host(1), host(2)], "{method}");
        assert!(booted.pgpool_conf.contains(&format!("delegate_IP = '{vip}'\n")), "{method}: {}", booted.pgpool_conf);
        for hook in ["up", "down", "wait"] {
            assert!(booted.pgpool_conf.contains(&format!("_cmd = '/usr/bin/vipkeeper {hook} $_IP_$")), "{hook}");
        }
        // The node knows its number by its address.
        assert_eq!(booted.node_id, "1\n", "{method}");
        let order = ["apt-get", "curl --fail", "sha256sum --check", "systemctl enable", "systemctl restart pgpool2"];
        let places: Vec<_> = order.map(|line| booted.called.find(line).unwrap_or(usize::MAX)).to_vec();
        assert!(places.is_sorted() && !places.contains(&usize::MAX), "{}", booted.called);
        stack.delete();
    }
}

#[test]
fn what_comes_out_of_the_template_is_what_check_wants() {
    if option_env!("CARGO_BIN_EXE_vipkeeper").is_none() && std::env::var_os("VIPKEEPER_PROGRAM").is_none() {
        eprintln!("not tested without the SDK: check on what comes out of the template");
        return;
    }
    let Some(stage) = Stage::new(1, 0) else { return };
    let machine = &stage.machines[0];
    let Some(moto) = Moto::start(Some(machine), "check on what comes out of the template") else { return };
    for method in METHODS {
        let stack = Stack::create(&moto, method);
        let booted = stack.boot("10.0.1.10");
        let instance = stack.outputs["Nodes"].split(' ').next().unwrap();
        let shown = moto.ec2(&[("Action", "DescribeInstances"), ("InstanceId.1", instance)]);
        let eni = element(&shown, "networkInterfaceId");
        let vpc = element(&shown, "vpcId");
        let groups =
            moto.ec2(&[("Action", "DescribeSecurityGroups"), ("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc)]);
        // The ARN is the last one before the description.
        let (before, _) = groups.split_once("Pgpool-II for its clients").unwrap();
        let (_, group) = before.rsplit_once(":security-group/").unwrap();
        let (group, _) = group.split_once('<').unwrap();
        let by_hand = [("Action", "ModifyNetworkInterfaceAttribute"), ("NetworkInterfaceId", eni)];
        moto.ec2(&[&by_hand[..], &[("SecurityGroupId.1", group)]].concat());
        let shown = moto.ec2(&[("Action", "DescribeNetworkInterfaces"), ("NetworkInterfaceId.1", eni)]);
        machine.set_mac(element(&shown, "macAddress"));
        machine.configure_whole(&format!(
            "state_dir = \"{state_dir}\"\n[identity]\ninstance_id = \"{instance}\"\ninterfaces = {{ eth0 = \"{eni}\" }}\n\
             [aws]\nregion = \"{REGION}\"\nendpoint_url = \"{url}\"\n{vip}",
            state_dir = machine.state_dir().display(),
            url = moto.url(),
            vip = booted.toml,
        ));
        let conf = machine.path("pgpool.conf");
        fs::write(&conf, &booted.pgpool_conf).unwrap();
        let mut check = machine.command(&["check", "--json", "--category", "ec2", "--category", "endpoint"]);
        check.arg("--pgpool-conf").arg(&conf);
        check.env("AWS_ACCESS_KEY_ID", "node-a").env("AWS_SECRET_ACCESS_KEY", "any");
        let done = machine.inside(move |_| check.output().unwrap());
        let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
        let result = |id: &str| {
            let all = said["checks"].as_array().unwrap();
            all.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id}"))["result"].clone()
        };
        assert_eq!(said["summary"]["failed"], 0, "{method}: {said:#}");
        let of_method: &[&str] = match method {
            "route" => &["route-tables-exist", "route-tables-vpc", "route-outside-vpc", "route-tables-room"],
            _ => &["elastic-ip-exists", "elastic-ip-place", "firewall-ping", "way-without-elastic-ip"],
        };
        for id in of_method.iter().chain(&["claims-room", "firewall-pgpool", "firewall-watchdog"]) {
            assert_eq!(result(id), "ok", "{method}: {id}: {said:#}");
        }
        stack.delete();
    }
}
