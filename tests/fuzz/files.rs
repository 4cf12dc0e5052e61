//! Files that other programs and people write: the desired-state file, the hold, the configuration, Pgpool's configuration.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use vipkeeper::config::Sources;
use vipkeeper::desired::{file, hold};
use vipkeeper::error::one_line;
use vipkeeper::machine::clock::Clocks;
use vipkeeper::machine::trust::TrustedOwners;
use vipkeeper::pgpool::conf::Conf;
use vipkeeper::pgpool::version::Version;

use super::{Fuzz, assert_fit_to_be_shown};

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(20, 0, 0, 50));

const LEADER: &str = r#"{"version":1,"delegate_ip":"20.0.0.50","sequence":7,"written_ms":1795860000000,"written_boottime_ns":90000000000,"boot_id":"5e2f8c4e-0000-4000-8000-000000000001","hook":{"pid":4242,"start_time":9000},"role":"leader","claim":"4242-9000-5e2f8c4e","started_ms":1795860000000,"started_boot_ms":90000,"guard":{"pid":77,"start_time":800},"escalation":{"pid":78,"start_time":8999},"pid_namespace":4026531836}"#;
const STANDBY: &str = r#"{"version":1,"delegate_ip":"20.0.0.50","sequence":8,"written_ms":1795860000001,"boot_id":"b","hook":{"pid":1,"start_time":0},"role":"standby"}"#;
const HOLD: &str = r#"{"version":1,"delegate_ip":"20.0.0.50","boot_id":"b","set_boottime_ns":90000000000,"set_ms":1795860000000,"for_ms":1800000,"extent":"except_release"}"#;

/// A short configuration, which is read faster than the example.
const SHORT: &str = "state_dir = \"/var/lib/vipkeeper\"\n[aws]\nregion = \"eu-central-1\"\n[[vip]]\ndelegate_ip = \"20.0.0.50\"\n\
    [vip.route]\ntables = [\"rtb-1\", { id = \"rtb-2\", assume_role_arn = \"arn:aws:iam::123456789012:role/r\" }]\n";

/// The user of this process, whose files the test may trust.
fn trusted() -> TrustedOwners {
    TrustedOwners::root().with_uid(rustix::process::geteuid().as_raw())
}

/// A folder in memory where there is one: a disk would be most of the time.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn a_damaged_desired_file_is_refused_or_means_what_it_says() {
    let folder = folder();
    let path = folder.path().join("20.0.0.50.json");
    let words =
        &["\"role\":", "\"leader\"", "\"standby\"", "\"claim\":", "\"guard\":null", "\"pid\":", "\"sequence\":", ","];
    let mut fuzz = Fuzz::new("desired file", &[LEADER.as_bytes(), STANDBY.as_bytes()], words);
    while let Some(input) = fuzz.next() {
        write(&path, &input.bytes);
        let result = match file::read_of_any_boot(&path, IP, &trusted()) {
            Ok(read) => {
                let read = read.expect("the file is there");
                assert_eq!(read.delegate_ip, IP);
                // The file that was understood stays equal when it is written and read again.
                write(&path, &serde_json::to_vec(&read).unwrap());
                assert_eq!(file::read_of_any_boot(&path, IP, &trusted()).unwrap(), Some(read.clone()));
                format!("{:?}", std::mem::discriminant(&read.wanted))
            }
            Err(error) => {
                assert_fit_to_be_shown(&one_line(&error));
                one_line(&error)
            }
        };
        fuzz.came_of_it(&input, &result);
    }
}

#[test]
fn a_damaged_hold_is_refused_or_means_what_it_says() {
    let folder = folder();
    let path = hold::path(folder.path(), IP);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut fuzz = Fuzz::new("hold", &[HOLD.as_bytes()], &["\"for_ms\":", "\"extent\":", "\"everything\"", ","]);
    while let Some(input) = fuzz.next() {
        write(&path, &input.bytes);
        let result = match hold::read(folder.path(), IP, &trusted()) {
            Ok(read) => {
                let read = read.expect("the file is there");
                // Its times are those of others, too: no arithmetic on them may overflow.
                for boot_id in ["b", "another"] {
                    if let Some(held) = read.in_force(boot_id, Clocks::now()) {
                        assert_fit_to_be_shown(&held.until());
                    }
                }
                "a hold".to_owned()
            }
            Err(error) => {
                assert_fit_to_be_shown(&one_line(&error));
                one_line(&error)
            }
        };
        fuzz.came_of_it(&input, &result);
    }
}

/// The example with every key in force. A key stands behind a `#` without a space.
fn whole_example() -> String {
    let lines = include_str!("../../config/example.toml").lines();
    let in_force = lines.map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ')).unwrap_or(line));
    in_force.flat_map(|line| [line, "\n"]).collect()
}

fn sources(file: &Path) -> Sources {
    Sources { file: file.to_owned(), environment: Vec::new(), flags: Vec::new() }
}

#[test]
fn the_good_configurations_are_good_and_name_every_kind_of_binding() {
    let folder = folder();
    let path = folder.path().join("vipkeeper.toml");
    for (text, vips) in [(SHORT.to_owned(), 1), (whole_example(), 3)] {
        write(&path, text.as_bytes());
        assert_eq!(sources(&path).load().unwrap().vips.len(), vips);
    }
}

#[test]
fn a_damaged_configuration_is_refused_with_a_reason() {
    let folder = folder();
    let path = folder.path().join("vipkeeper.toml");
    let whole = whole_example();
    let words =
        &["[[vip]]\n", "delegate_ip = ", "[vip.elastic_ip]\n", "[aws]\n", "\"20.0.0.50\"", "= [", "10s", "rtb-1"];
    let mut fuzz = Fuzz::new("configuration", &[SHORT.as_bytes(), whole.as_bytes()], words);
    while let Some(input) = fuzz.next() {
        write(&path, &input.bytes);
        let sources = sources(&path);
        let result = match sources.load() {
            Ok(config) => {
                assert!(!config.vips.is_empty());
                "valid".to_owned()
            }
            Err(error) => {
                assert!(!error.problems().is_empty());
                for problem in error.problems() {
                    assert_fit_to_be_shown(&problem.to_string());
                }
                error.problems()[0].to_string()
            }
        };
        let for_hook = sources.load_for_hook();
        assert_eq!(for_hook.error.is_none(), result == "valid");
        assert!(for_hook.state_dir.is_absolute(), "{}", for_hook.state_dir.display());
        fuzz.came_of_it(&input, &result);
    }
}

#[test]
fn a_damaged_pgpool_conf_is_read_as_far_as_it_goes() {
    let good = "use_watchdog = on\ndelegate_IP = '20.0.0.50'\nwd_escalation_command = '/usr/bin/vipkeeper up'\nport = 9999\n\
                hostname0 = 'node1'\nwd_port0 = 9000\npgpool_port0 = 9999\nheartbeat_hostname0 = 'node1'\nheartbeat_port0 = 9694\n\
                wd_lifecheck_method = 'heartbeat'\nwd_interval = 10s\nwd_heartbeat_deadtime = 30\nenable_consensus_with_half_votes = off\n";
    let words = &[
        "wd_interval = ",
        "'",
        "\\'",
        "ms",
        "18446744073709551615min",
        "4294967295",
        "'query'",
        "wd_life_point = ",
        "hostname18446744073709551615 = ",
        "#",
        "port",
    ];
    let mut fuzz = Fuzz::new(
        "pgpool.conf",
        &[good.as_bytes(), b"wd_lifecheck_method = 'query'\nwd_interval = 10min\nwd_life_point = 3\n"],
        words,
    );
    while let Some(input) = fuzz.next() {
        let text = String::from_utf8_lossy(&input.bytes);
        let conf = Conf::parse(&text);
        let hooks = conf.hooks().len();
        let result = format!(
            "{:?} {:?} {:?} {:?} {hooks}",
            conf.delegate_ip().map(|(_, ip)| ip.is_some()),
            conf.lifecheck(),
            conf.uses_watchdog(),
            conf.half_votes_suffice(),
        );
        for node in conf.nodes() {
            let _ = conf.heartbeat_port(node.number);
        }
        let longer = conf.patience() > Duration::from_hours(1);
        let _ = (conf.port(), conf.escalation_commands().count(), Version::parse(&text));
        fuzz.came_of_it(&input, &format!("{result} {longer}"));
    }
}
