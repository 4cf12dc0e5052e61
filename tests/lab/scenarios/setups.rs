//! Other setups than three nodes with a heartbeat: two nodes and half of the votes, a node that was never there, a lifecheck by
//! queries, trusted servers, a resolver that falls silent; vipkeeper and Pgpool upgraded, and Pgpool stopped smartly, while
//! clients work.

use std::time::Duration;

use super::super::client::now;
use super::super::cluster::{Lab, eventually};
use super::super::report::seconds;
use super::super::signals;
use super::super::software::{self, Nodes, Setup};
use super::super::vpc::Method;
use super::network::CUT;
use super::pgpool::HANGS;
use super::{
    AFTER_FAULT, CLEAN, ELECTION, GOAL, Moved, NOWHERE, Open, Scenario, Story, another_leads, comes_back_as_standby,
    others, plain, s, sleep_until, somebody_leads,
};

/// From the newer leader's `down` until the older one serves again, where two have met and the older one goes on.
const TAKES_OVER_AGAIN: Duration = s(2);

/// Two leaders meet. Pgpool lets the older one go on without an `up`, or the newer one, or elects anew.
fn ends_when_two_have_met(lab: &Lab, old: usize, newer: &Moved, healed: Duration) -> Story {
    let last = somebody_leads(lab, newer.at);
    if last.hook == newer.hook {
        return Story { shows: Some(signals::ELECTED_ANEW), ..last.ends("the newer leader went on") };
    }
    if last.hook > newer.hook {
        return Story {
            shows: Some(signals::ELECTED_ANEW),
            ..last.ends("both leaders resigned, and Pgpool elected anew")
        };
    }
    assert_eq!(last.leader, old, "the older leader went on");
    let down = lab.desired(newer.leader).expect("its hooks ran");
    let down = Duration::from_millis(down.written_ms);
    let end = format!(
        "the older leader went on without an `up`; the newer one's `down` came {} after they met",
        seconds(down.saturating_sub(healed))
    );
    Moved { at: newer.at, leader: old, hook: down }.ends_after(down, AFTER_FAULT, end)
}

/// Each of the two has enough votes alone.
pub const HALF_VOTES: Scenario = Scenario {
    name: "two nodes with half votes, cut off from each other for 25 s",
    short: NOWHERE,
    setup: |method| Setup { nodes: Nodes::TwoWithHalfVotes, heard: true, ..plain(method) },
    goal: TAKES_OVER_AGAIN,
    open: CUT,
    happens: |lab, old| {
        let at = now();
        lab.cut(&[old], &[]);
        let newer = another_leads(lab, old, at);
        eventually("nothing is left at the older leader", CLEAN, || lab.agrees_on(newer.leader));
        sleep_until(at + s(25));
        let healed = now();
        lab.heal();
        ends_when_two_have_met(lab, old, &newer, healed)
    },
    errors: &[],
};

/// A watchdog that hears no beacon of its leader for 30 s takes it for lost, without a lifecheck as well.
const WITHOUT_LIFECHECK: Duration = s(45);

/// Some versions start the lifecheck only once every node has been there. Whatever they start, one node of three is no quorum.
pub const NEVER_STARTED: Scenario = Scenario {
    name: "the third node never started, and all of the leader's Pgpool hangs for 45 s",
    short: NOWHERE,
    setup: |method| Setup { nodes: Nodes::ThirdNeverStarts, heard: true, ..plain(method) },
    goal: s(60),
    open: Open::MayNotKnow(
        "Nobody else has a quorum, so nobody takes the VIP, and the kernel acknowledges for the Pgpool that hangs. The \
         connections wait until it goes on. Only a timeout of the client's own ends that: `statement_timeout` does not, \
         because the server would have to keep it.",
    ),
    happens: |lab, old| {
        let mark = lab.vpc.endpoint.service().mark();
        let at = now();
        lab.machine(old).freeze("pgpool");
        sleep_until(at + WITHOUT_LIFECHECK);
        assert_eq!(lab.writes_since(mark), 0, "nobody has a quorum, so nobody changes anything");
        lab.agrees_on(old).unwrap();
        lab.machine(old).thaw("pgpool");
        lab.recorder.note("it goes on");
        let last = somebody_leads(lab, at);
        if last.hook > at {
            return last.ends("Pgpool elected anew when it went on");
        }
        Story::of_one_leader(old, at, WITHOUT_LIFECHECK + AFTER_FAULT, "it leads on".to_owned())
    },
    errors: &[],
};

/// Each watchdog asks the others' Pgpools instead of listening for heartbeats.
pub const BY_QUERY: Scenario = Scenario {
    name: "all of Pgpool hangs (SIGSTOP), and wakes; lifecheck by queries",
    short: NOWHERE,
    setup: |method| Setup { pgpool_conf: software::BY_QUERY, ..plain(method) },
    ..HANGS
};

/// An address of the router, which is not on the way to anything else.
const TRUSTED: &str = "trusted_servers = '10.0.8.1'\n";

/// Clients, peers and EC2 are reached as before.
pub const NOBODY_TO_TRUST: Scenario = Scenario {
    name: "the leader reaches no trusted server for 25 s",
    short: NOWHERE,
    setup: |method| Setup { pgpool_conf: TRUSTED, ..plain(method) },
    goal: GOAL,
    open: CUT,
    happens: |lab, old| {
        let at = now();
        lab.lose_trusted_servers(old);
        let moved = another_leads(lab, old, at);
        sleep_until(at + s(25));
        lab.heal();
        moved.ends_once_one_stays(lab, "healed")
    },
    errors: &[],
};

/// A takeover needs more connections to EC2 than are open, by a name that nobody resolves.
pub const NO_RESOLVER: Scenario = Scenario {
    name: "kill -9 of all of Pgpool while the resolver is silent for 60 s",
    short: NOWHERE,
    setup: |method| Setup { by_name: true, tables: 8, ..plain(method) },
    // The names' known addresses serve when the resolver has had its time.
    goal: s(1),
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        lab.vpc.resolver.fall_silent();
        let at = now();
        lab.recorder.note("no resolver");
        lab.machine(old).kill("pgpool");
        let moved = another_leads(lab, old, at);
        sleep_until(at + s(60));
        lab.vpc.resolver.answer_again();
        lab.recorder.note("it answers again");
        moved.ends("its names were remembered")
    },
    errors: &[],
};

/// The standbys first, as an operator does it.
pub const UPGRADED: Scenario = Scenario {
    name: "vipkeeper is upgraded on every node while clients work",
    short: &[Method::Route],
    setup: plain,
    goal: GOAL,
    open: Open::Live,
    happens: |lab, leader| {
        let mark = lab.vpc.endpoint.service().mark();
        let at = now();
        for node in others(leader).chain([leader]) {
            lab.recorder.note(&format!("upgrade of {}", lab.name_of(node)));
            lab.upgrade_vipkeeper(node);
            let upgraded = lab.vpc.endpoint.service().mark();
            eventually("it looks at EC2 again", CLEAN, || lab.has_looked(node, upgraded));
            lab.agrees_on(leader).unwrap();
        }
        assert_eq!(lab.writes_since(mark), 0, "an upgrade changes nothing");
        Story::of_one_leader(leader, at, s(1), "nothing was changed".to_owned())
    },
    errors: &[],
};

/// How often this node's Pgpool has joined its cluster.
fn joined(lab: &Lab, node: usize) -> usize {
    lab.log(node, "pgpool").matches("successfully joined the watchdog cluster as standby").count()
}

/// The standbys first, and each only once the one before is back, as an operator does it who wants one failover and no more.
pub const PGPOOL_UPGRADED: Scenario = Scenario {
    name: "Pgpool is upgraded on every node while clients work",
    short: NOWHERE,
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let mark = lab.vpc.endpoint.service().mark();
        for node in others(old) {
            lab.recorder.note(&format!("upgrade of {}", lab.name_of(node)));
            let before = joined(lab, node);
            lab.stop_pgpool(node);
            lab.start_pgpool(node);
            // Stopped before the first is one of the cluster again, the second would take the quorum along.
            eventually("the standby is back", ELECTION, || {
                if joined(lab, node) > before { Ok(()) } else { Err("it has not joined".to_owned()) }
            });
        }
        assert_eq!(lab.writes_since(mark), 0, "a standby's Pgpool moves nothing");
        let at = now();
        lab.recorder.note(&format!("upgrade of {}", lab.name_of(old)));
        lab.stop_pgpool(old);
        let moved = another_leads(lab, old, at);
        lab.start_pgpool(old);
        comes_back_as_standby(lab, old);
        moved.ends("one failover, and the old leader stands by")
    },
    errors: &[],
};

const STOPPED: Open = Open::MayNotKnow(
    "The old Pgpool waits for its clients and the Elastic IP has left it: a client that asks is reset by the new leader, and \
     one that only waits hears nothing more. TCP keepalives find out. Where the local address is the VIP's own, vipkeeper \
     resets the connections; `-m fast` ends them everywhere.",
);

/// Pgpool says that it waits for its clients; its watchdog leaves at once, and the VIP with it.
pub const STOPPED_SMARTLY: Scenario = Scenario {
    name: "the leader's Pgpool is stopped smartly (`-m smart`) while clients work",
    short: NOWHERE,
    setup: plain,
    goal: GOAL,
    open: STOPPED,
    happens: |lab, old| {
        let at = now();
        lab.begin_to_stop_pgpool(old, "smart");
        another_leads(lab, old, at).ends("the watchdog resigned at once")
    },
    errors: &[],
};
