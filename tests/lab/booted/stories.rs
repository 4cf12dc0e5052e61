//! An operator's day on the booted machines.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use vipkeeper::status::{ConditionName, Status};

use super::super::client::now;
use super::super::cluster::eventually;
use super::super::machine::{Machine, signal};
use super::super::scenarios::{Set, Turn, is_played};
use super::super::vpc::Method;
use super::boot;
use super::cluster::{Booted, PATIENCE};
use super::packages::{files_of_ours, packages};
use super::readme::{Language, Section};

/// Pgpool's election after an orderly end, and vipkeeper's part.
const MOVES: Duration = Duration::from_secs(20);
/// A look of the leader's own, and the repair.
const REPAIRS: Duration = Duration::from_secs(15);
/// A standby's next look: `intervals.standby`, up to a quarter more, and the time to show it.
const LOOKS_AGAIN: Duration = Duration::from_secs(60);
/// `RestartSec`, and the start.
const COMES_BACK: Duration = Duration::from_secs(30);
/// `WatchdogSec`, `TimeoutStopSec` after it, and the start.
const WATCHDOG: Duration = Duration::from_secs(55);
/// The least exposure that the daemon's work allows: docs/security.md has the rest of it, line by line.
const EXPOSURE: f64 = 2.3;

/// The reads that docs/operations.md says no policy lists.
const OF_CHECK_ALONE: [&str; 3] = ["DescribeInstanceTypes", "DescribeRouteTables", "DescribeSecurityGroups"];

/// Whether machines can be booted here. In CI they must be.
fn can_boot(set: Set) -> bool {
    if !is_played(set) {
        return false;
    }
    if boot::is_in_user_namespace() {
        eprintln!(
            "\nskipped: machines that boot systemd; a systemd needs the machine's own root, not a user namespace's"
        );
        return false;
    }
    let Some(obstacle) = boot::obstacle() else { return true };
    assert!(std::env::var("CI").is_err(), "CI must boot machines: {obstacle}");
    eprintln!("\nskipped: machines that boot systemd; {obstacle}");
    false
}

/// The short set has one story for each method and one for each language, because a story takes minutes.
#[test]
fn an_operators_day_with_route_tables() {
    route_tables(Set::Short, Language::English);
}

#[test]
fn an_operators_day_with_an_elastic_ip_in_japanese() {
    elastic_ip(Set::Short, Language::Japanese);
}

#[test]
fn an_operators_day_with_route_tables_in_japanese() {
    route_tables(Set::Full, Language::Japanese);
}

#[test]
fn an_operators_day_with_an_elastic_ip() {
    elastic_ip(Set::Full, Language::English);
}

fn route_tables(set: Set, language: Language) {
    if !can_boot(set) {
        return;
    }
    let _turn = Turn::take();
    let mut cluster = Booted::start(Method::Route, language);
    cluster.install();
    the_unit_is_clean(&cluster);
    let first = everything_is_ready(&cluster);
    the_readmes_proof(&cluster, first);
    the_daemon_is_killed(&cluster);
    an_upgrade_under_load(&cluster);
    a_wrong_configuration(&cluster);
    the_daemon_is_stopped(&cluster);
    the_leader_reboots(&mut cluster);
    removed_and_purged(&cluster);
    every_error_is_expected(&cluster);
    the_printed_policy_is_enough(&cluster);
    cluster.vpc.assert_well();
    cluster.tell("done");
}

fn elastic_ip(set: Set, language: Language) {
    if !can_boot(set) {
        return;
    }
    let _turn = Turn::take();
    let cluster = Booted::start(Method::ElasticIp, language);
    cluster.install();
    let first = everything_is_ready(&cluster);
    the_readmes_proof(&cluster, first);
    every_error_is_expected(&cluster);
    the_printed_policy_is_enough(&cluster);
    cluster.vpc.assert_well();
    cluster.tell("done");
}

/// The state before the first failover, as the README has an operator look at it; returns the leader.
fn everything_is_ready(cluster: &Booted) -> usize {
    everybody_is_in_sync(cluster);
    the_watchdog_is_asked(cluster);
    nothing_would_fail(cluster);
    cluster.leader().unwrap()
}

/// `vipkeeper check` on every node finds nothing that a failover would fail at.
fn nothing_would_fail(cluster: &Booted) {
    let line = cluster.readme.command(Section::Check, "sudo vipkeeper check");
    // EC2 is at another place here, which only the variable tells.
    let line = line.replace("sudo ", "sudo --preserve-env ");
    cluster.on_each(|node| {
        let (said, status) = cluster.try_shell(node, &line);
        assert!(matches!(status, Some(0 | 3)), "{}: {status:?}\n{said}", cluster.name_of(node));
    });
    cluster.tell("vipkeeper check finds nothing that would fail");
}

fn the_unit_is_clean(cluster: &Booted) {
    let (said, status) = cluster.try_shell(0, "systemd-analyze verify --man=no vipkeeper.service");
    // Debian's own unit of Pgpool, which is read as well, is not without complaints.
    assert!(status == Some(0) && !said.contains("vipkeeper"), "{said}");
    let table = cluster.shell(0, "systemd-analyze security --no-pager vipkeeper.service");
    let last = table.lines().last().unwrap();
    let exposure: f64 = last.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(exposure <= EXPOSURE, "{table}");
    cluster.tell(&format!("systemd counts an exposure of {exposure}"));
}

/// "On each node `vipkeeper status` ends with exit status 0."
fn everybody_is_in_sync(cluster: &Booted) {
    for node in 0..3 {
        eventually("status ends with 0", REPAIRS, || match cluster.try_shell(node, "vipkeeper status") {
            (_, Some(0)) => Ok(()),
            (said, status) => Err(format!("{status:?}\n{said}")),
        });
    }
}

/// After the package's installation alone, each daemon has the word of its Pgpool's watchdog.
fn the_watchdog_is_asked(cluster: &Booted) {
    for node in 0..3 {
        eventually("the watchdog answers", MOVES, || {
            let json = cluster.shell(node, "vipkeeper status --json || [ $? = 2 ]");
            let status: Status = serde_json::from_str(&json).unwrap();
            let witness = status.vips[0].conditions.iter().find(|one| one.name == ConditionName::Witness);
            let witness = witness.expect("each VIP has it");
            if witness.holds { Ok(()) } else { Err(format!("{}: {witness:?}", cluster.name_of(node))) }
        });
    }
}

/// The section "Prove it", line by line.
fn the_readmes_proof(cluster: &Booted, old: usize) {
    assert!(cluster.psql().unwrap().contains("10.0.8.10"), "the pool's node is shown");
    let at = now();
    cluster.shell(old, &cluster.readme.quoted(Section::Proof, "sudo systemctl stop"));
    let new = eventually("another node leads", MOVES, || {
        cluster.leader().and_then(|node| if node == old { Err("the old one".to_owned()) } else { Ok(node) })
    });
    eventually("the client is served", MOVES, || cluster.is_served_by(new));
    cluster.psql().unwrap();
    cluster.tell(&format!("first failover: {:.1} s without an answer", outage(cluster, at).as_secs_f64()));
    cluster.shell(old, "sudo systemctl start pgpool2");

    the_careless_colleague(cluster, new);
    let (from, mark) = (now(), cluster.mark());
    cluster.shell(new, &cluster.readme.quoted(Section::Proof, "sudo systemctl restart"));
    thread::sleep(PATIENCE + Duration::from_secs(1));
    assert_eq!(cluster.client.failures_since(from), 0, "queries failed while the daemon restarted");
    assert_eq!(cluster.writes_since(mark), 0, "a restart changes nothing");
    cluster.tell("systemctl restart vipkeeper under load: no failed query");
}

fn the_careless_colleague(cluster: &Booted, leader: usize) {
    let at = now();
    let line = match cluster.method {
        Method::Route => {
            let line = cluster.readme.command(Section::Proof, "aws ec2 delete-route");
            line.replace("rtb-0123456789abcdef0", &cluster.vpc.tables[0])
        }
        _ => {
            let service = cluster.vpc.endpoint.service();
            let address = service.account().elastic_ip(&cluster.vpc.allocation).unwrap();
            let id = &address.association.as_ref().unwrap().id;
            let line = cluster.readme.command(Section::Proof, "aws ec2 disassociate-address");
            line.replace("eipassoc-0123456789abcdef0", id)
        }
    };
    let mark = cluster.mark();
    cluster.aws(&line);
    eventually("the leader puts it back", REPAIRS, || match (cluster.leader(), cluster.writes_since(mark)) {
        // One change is the colleague's.
        (Ok(node), writes) if node == leader && writes > 1 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    eventually("the client is served", MOVES, || cluster.is_served_by(leader));
    cluster.tell(&format!(
        "a binding removed by hand: back, {:.1} s without an answer",
        outage(cluster, at).as_secs_f64()
    ));
}

/// Neither a query fails nor is anything changed in EC2 while `work` is done to the leader, and for a while after.
fn nothing_moves(cluster: &Booted, what: &str, work: impl FnOnce(usize)) {
    let leader = cluster.leader().unwrap();
    eventually("the client is served", MOVES, || cluster.is_served_by(leader));
    let (from, mark) = (now(), cluster.mark());
    work(leader);
    thread::sleep(PATIENCE + Duration::from_secs(1));
    assert_eq!(cluster.client.failures_since(from), 0, "{what}: queries failed");
    assert_eq!(cluster.writes_since(mark), 0, "{what}: something was changed");
    assert_eq!(cluster.leader().unwrap(), leader);
    cluster.tell(&format!("{what}: no failed query, no change"));
}

fn comes_back(cluster: &Booted, node: usize, old: u32, within: Duration) {
    eventually("another daemon runs", within, || match cluster.daemon(node) {
        Some(pid) if pid != old => {
            let (said, status) = cluster.try_shell(node, "systemctl is-active vipkeeper");
            if status == Some(0) { Ok(()) } else { Err(said) }
        }
        other => Err(format!("{other:?}")),
    });
}

fn the_daemon_is_killed(cluster: &Booted) {
    nothing_moves(cluster, "kill -9 of the daemon", |leader| {
        let old = cluster.daemon(leader).expect("it runs");
        cluster.shell(leader, &format!("kill -9 {}", Machine::inner_pid(old)));
        comes_back(cluster, leader, old, COMES_BACK);
    });
}

fn an_upgrade_under_load(cluster: &Booted) {
    nothing_moves(cluster, "upgrade and downgrade of the package", |leader| {
        for package in [&packages().second, &packages().first] {
            let old = cluster.daemon(leader).expect("it runs");
            cluster.bring(leader, package);
            let file = package.file_name().unwrap().to_str().unwrap();
            cluster.shell(leader, &format!("sudo dpkg --install ./{file}"));
            comes_back(cluster, leader, old, COMES_BACK);
        }
    });
}

/// On a standby: exit status 78, and no further start.
fn a_wrong_configuration(cluster: &Booted) {
    nothing_moves(cluster, "a wrong configuration on a standby", |leader| {
        let node = (leader + 1) % 3;
        let file = cluster.machine(node).path("/etc/vipkeeper/vipkeeper.toml");
        let right = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("unknown_key = 1\n{right}")).unwrap();
        let (_, status) = cluster.try_shell(node, "sudo systemctl restart vipkeeper");
        assert_ne!(status, Some(0));
        thread::sleep(Duration::from_secs(4));
        let said = cluster.shell(node, "systemctl show --property ActiveState,ExecMainStatus vipkeeper");
        for line in ["ActiveState=failed", "ExecMainStatus=78"] {
            assert!(said.contains(line), "{said}");
        }
        let journal = cluster.shell(node, "journalctl --no-pager -u vipkeeper -n 20");
        assert!(journal.contains("unknown_key"), "{journal}");
        fs::write(&file, right).unwrap();
        cluster.shell(node, "sudo systemctl restart vipkeeper");
    });
}

/// systemd's own watchdog: SIGSTOP, and nobody says any more that the loop turns.
fn the_daemon_is_stopped(cluster: &Booted) {
    nothing_moves(cluster, "SIGSTOP of the daemon", |leader| {
        let old = cluster.daemon(leader).expect("it runs");
        signal(old, Signal::STOP);
        comes_back(cluster, leader, old, WATCHDOG);
        let said = cluster.shell(leader, "journalctl --no-pager -u vipkeeper -n 100");
        assert!(said.contains("Watchdog timeout"), "{said}");
    });
}

fn the_leader_reboots(cluster: &mut Booted) {
    let old = cluster.leader().unwrap();
    let at = now();
    cluster.reboot(old);
    let new = eventually("another node leads", MOVES, || {
        cluster.leader().and_then(|node| if node == old { Err("the old one".to_owned()) } else { Ok(node) })
    });
    eventually("the client is served", MOVES, || cluster.is_served_by(new));
    let away = outage(cluster, at);
    // It may have looked before its successor had taken everything.
    eventually("the rebooted node is in sync", LOOKS_AGAIN, || match cluster.try_shell(old, "vipkeeper status") {
        (_, Some(0)) => Ok(()),
        (said, status) => Err(format!("{status:?}\n{said}")),
    });
    cluster.tell(&format!("reboot of the leader: {:.1} s without an answer", away.as_secs_f64()));
}

/// On a standby, whose Pgpool goes on: a removal keeps the configuration, and a purge leaves nothing.
fn removed_and_purged(cluster: &Booted) {
    nothing_moves(cluster, "removal and purge on a standby", |leader| {
        let node = (leader + 1) % 3;
        cluster.shell(node, "sudo apt-get --yes remove vipkeeper");
        assert!(cluster.machine(node).path("/etc/vipkeeper/vipkeeper.toml").exists());
        assert_eq!(cluster.daemon(node), None);
        cluster.shell(node, "rm -f /root/*.deb && sudo apt-get --yes purge vipkeeper");
        let root = cluster.machine(node).path("/");
        assert_eq!(files_of_ours(&root), Vec::<String>::new());
        let (said, _) = cluster.try_shell(node, "getent passwd vipkeeper; getent group vipkeeper; id -nG postgres");
        assert!(!said.contains("vipkeeper"), "{said}");
    });
}

/// The journal has no error of the daemons', but for the mistake that a story made.
fn every_error_is_expected(cluster: &Booted) {
    for node in 0..3 {
        let errors = cluster.shell(node, "journalctl --quiet --no-pager --output cat --priority err -t vipkeeper");
        let unexpected: Vec<_> = errors.lines().filter(|line| !line.contains("unknown_key")).collect();
        assert_eq!(unexpected, Vec::<&str>::new(), "{}", cluster.name_of(node));
    }
}

/// EC2 denied the nodes nothing but what `vipkeeper check` alone would like to read.
fn the_printed_policy_is_enough(cluster: &Booted) {
    let denied = cluster.vpc.denied().into_iter().map(|(_, operation)| operation);
    let missed: Vec<_> = denied.filter(|operation| !OF_CHECK_ALONE.contains(operation)).collect();
    assert_eq!(missed, Vec::<&str>::new());
}

/// The longest time without an answer since `at`.
fn outage(cluster: &Booted, at: Duration) -> Duration {
    let answers: Vec<_> = cluster.client.answers().iter().map(|answer| answer.at).collect();
    let before = answers.iter().rev().find(|one| **one <= at).copied();
    let after = answers.into_iter().filter(|one| *one > at);
    let all: Vec<_> = before.into_iter().chain(after).collect();
    all.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default()
}
