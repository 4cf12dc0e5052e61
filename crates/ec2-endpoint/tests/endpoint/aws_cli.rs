//! The AWS command line against the endpoint: proof that a real SDK understands every answer, and finds its credentials.

use std::process::Command;

use serde_json::{Value, json};

use crate::{client::Running, tools};

struct Cli<'a> {
    running: &'a Running,
    environment: Vec<(&'static str, String)>,
}

impl<'a> Cli<'a> {
    /// Calls as the caller of an access key.
    fn with_key(running: &'a Running, key: &str) -> Self {
        let environment = vec![("AWS_ACCESS_KEY_ID", key.to_owned()), ("AWS_SECRET_ACCESS_KEY", "secret".to_owned())];
        Self { running, environment }
    }

    /// Calls as an instance that has nothing but its metadata service.
    fn on_node_a(running: &'a Running) -> Self {
        let imds = format!("http://{}", running.imds);
        Self { running, environment: vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds)] }
    }

    /// Runs `aws`; gives its JSON, or the error's code as text.
    fn run(&self, arguments: &str) -> Value {
        let mut command = Command::new("aws");
        command.env_clear();
        for kept in ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.running.api))
            // Version 1 and version 2 of the command line read different names.
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_PAGER", "")
            .env("AWS_DEFAULT_OUTPUT", "json")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(arguments.split_whitespace());
        let output = command.output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            return if stdout.trim().is_empty() { json!("OK") } else { serde_json::from_str(&stdout).unwrap() };
        }
        let code = stderr.split_once("An error occurred (").and_then(|(_, rest)| rest.split_once(')'));
        json!(code.unwrap_or_else(|| panic!("aws {arguments}: {stderr}")).0)
    }
}

#[test]
fn the_aws_command_line_understands_every_answer() {
    if !tools::is_there("aws", "--version", "the AWS CLI against the endpoint") {
        return;
    }
    let running = Running::start();
    let world = &running.world;
    let aws = Cli::with_key(&running, "node-a");
    let (eip, table, subnet, vpc) = (&world.eip, &world.table, &world.subnet, &world.vpc);
    let (a, b) = (world.eni(&world.a), world.eni(&world.b));
    let instance = &world.a.instance_id;

    let associated = aws
        .run(&format!("ec2 associate-address --allocation-id {eip} --network-interface-id {a} --allow-reassociation"));
    let association = associated["AssociationId"].as_str().unwrap();
    let refused =
        format!("ec2 associate-address --allocation-id {eip} --network-interface-id {b} --no-allow-reassociation");
    assert_eq!(aws.run(&refused), "Resource.AlreadyAssociated");
    let described = aws.run(&format!("ec2 describe-addresses --filters Name=network-interface-id,Values={a}"));
    let address = &described["Addresses"][0];
    assert_eq!(
        [&address["AssociationId"], &address["InstanceId"], &address["PrivateIpAddress"], &address["Domain"]],
        [&json!(association), &json!(instance), &json!("10.0.1.11"), &json!("vpc")]
    );

    let route = format!("--route-table-id {table} --destination-cidr-block 20.0.0.50/32");
    assert_eq!(aws.run(&format!("ec2 create-route {route} --network-interface-id {a}"))["Return"], true);
    assert_ne!(aws.run(&format!("ec2 replace-route {route} --network-interface-id {b}")), "InvalidParameterValue");
    let tables = aws.run(&format!("ec2 describe-route-tables --route-table-ids {table}"));
    let shown = &tables["RouteTables"][0]["Routes"].as_array().unwrap()[1];
    assert_eq!(
        *shown,
        json!({
            "DestinationCidrBlock": "20.0.0.50/32",
            "InstanceId": world.b.instance_id,
            "InstanceOwnerId": "123456789012",
            "NetworkInterfaceId": b,
            "Origin": "CreateRoute",
            "State": "active",
        })
    );
    assert_eq!(tables["RouteTables"][0]["Associations"][0]["SubnetId"], json!(subnet));
    assert_eq!(aws.run(&format!("ec2 delete-route {route}")), "OK");

    aws.run(&format!("ec2 modify-network-interface-attribute --network-interface-id {a} --no-source-dest-check"));
    let assign = format!("ec2 assign-private-ip-addresses --network-interface-id {a} --private-ip-addresses 10.0.1.50");
    let assigned = aws.run(&format!("{assign} --allow-reassignment"));
    assert_eq!(assigned["AssignedPrivateIpAddresses"], json!([{"PrivateIpAddress": "10.0.1.50"}]));
    let ipv6 = "--ipv6-addresses 2600:1f18:0:ab00::50";
    let assigned = aws.run(&format!("ec2 assign-ipv6-addresses --network-interface-id {a} {ipv6}"));
    assert_eq!(assigned["AssignedIpv6Addresses"], json!(["2600:1f18:0:ab00::50"]));
    let interfaces = aws.run(&format!("ec2 describe-network-interfaces --network-interface-ids {a}"));
    let interface = &interfaces["NetworkInterfaces"][0];
    assert_eq!(interface["SourceDestCheck"], false);
    assert_eq!(interface["Attachment"]["InstanceId"], json!(instance));
    assert_eq!(interface["Association"]["PublicIp"], "203.0.113.10");
    assert_eq!(interface["PrivateIpAddresses"][0]["Association"]["AllocationId"], json!(eip));
    assert_eq!(interface["PrivateIpAddresses"][1], json!({"Primary": false, "PrivateIpAddress": "10.0.1.50"}));
    assert_eq!(interface["Ipv6Addresses"], json!([{"Ipv6Address": "2600:1f18:0:ab00::50"}]));
    assert_eq!(interface["VpcId"], json!(vpc));
    let unassigned = aws.run(&format!("ec2 unassign-ipv6-addresses --network-interface-id {a} {ipv6}"));
    assert_eq!(unassigned["UnassignedIpv6Addresses"], json!(["2600:1f18:0:ab00::50"]));
    let unassign =
        format!("ec2 unassign-private-ip-addresses --network-interface-id {a} --private-ip-addresses 10.0.1.50");
    aws.run(&unassign);

    aws.run(&format!("ec2 create-tags --resources {eip} {table} --tags Key=vipkeeper/20.0.0.50,Value=7"));
    let tags = aws.run("ec2 describe-tags --filters Name=key,Values=vipkeeper/* --page-size 5");
    assert_eq!(
        tags["Tags"][0],
        json!({"Key": "vipkeeper/20.0.0.50", "ResourceId": eip, "ResourceType": "elastic-ip", "Value": "7"})
    );
    aws.run(&format!("ec2 delete-tags --resources {eip} --tags Key=vipkeeper/20.0.0.50,Value=7"));
    aws.run(&format!("ec2 disassociate-address --association-id {association}"));
}

#[test]
fn the_aws_command_line_understands_what_is_only_described() {
    if !tools::is_there("aws", "--version", "the AWS CLI against the endpoint's describe calls") {
        return;
    }
    let running = Running::start();
    let world = &running.world;
    let aws = Cli::with_key(&running, "node-a");
    let instances = aws.run(&format!("ec2 describe-instances --instance-ids {}", world.a.instance_id));
    let instance = &instances["Reservations"][0]["Instances"][0];
    assert_eq!((&instance["State"]["Name"], &instance["PrivateIpAddress"]), (&json!("running"), &json!("10.0.1.11")));
    assert_eq!(instance["NetworkInterfaces"][0]["NetworkInterfaceId"], json!(world.eni(&world.a)));
    let subnets = aws.run(&format!("ec2 describe-subnets --subnet-ids {}", world.subnet));
    assert_eq!(subnets["Subnets"][0]["CidrBlock"], "10.0.1.0/24");
    assert_eq!(subnets["Subnets"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"], "2600:1f18:0:ab00::/64");
    let vpcs = aws.run("ec2 describe-vpcs");
    assert_eq!(vpcs["Vpcs"][0]["CidrBlockAssociationSet"][0]["CidrBlock"], "10.0.0.0/16");
    let groups = aws.run("ec2 describe-security-groups --filters Name=group-name,Values=default");
    assert_eq!(groups["SecurityGroups"][0]["IpPermissionsEgress"][0]["IpRanges"][0]["CidrIp"], "0.0.0.0/0");
}

#[test]
fn credentials_come_from_the_metadata_service_and_from_roles() {
    if !tools::is_there("aws", "--version", "credentials for the AWS CLI") {
        return;
    }
    let running = Running::start();
    let identity = Cli::on_node_a(&running).run("sts get-caller-identity");
    assert_eq!(identity["Arn"], "arn:aws:iam::123456789012:user/node-a");
    let role = "arn:aws:iam::123456789012:role/network";
    let assumed = Cli::on_node_a(&running)
        .run(&format!("sts assume-role --role-arn {role} --role-session-name node-a --duration-seconds 900"));
    let key = assumed["Credentials"]["AccessKeyId"].as_str().unwrap();
    let identity = Cli::with_key(&running, key).run("sts get-caller-identity");
    assert_eq!(identity["Arn"], "arn:aws:sts::123456789012:assumed-role/network/node-a");
}
