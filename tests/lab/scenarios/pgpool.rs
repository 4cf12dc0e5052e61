//! Pgpool stops, dies, hangs, dawdles; loses its quorum; fails over twice.

use std::time::Duration;

use super::super::client::now;
use super::super::cluster::{Lab, eventually};
use super::super::report::seconds;
use super::super::software::{LATE_S, Setup};
use super::super::vpc::Method;
use super::{
    CLEAN, ELECTION, EVERYWHERE, GOAL, NOWHERE, Open, Scenario, Story, another_leads, comes_back_as_standby,
    has_the_address, hook_after, others, plain, s, sleep_until, somebody_leads, the_port_is_free,
};

/// A leader looks each 10 s, give or take a quarter.
const A_LOOK: Duration = s(15);

/// The guide's acceptance: connect, stop the leader, connect again.
pub const WALKTHROUGH: Scenario = Scenario {
    name: "the guide's walkthrough",
    short: EVERYWHERE,
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        shows_the_database(&lab.psql("show pool_nodes"));
        let at = now();
        lab.stop_pgpool(old);
        let moved = another_leads(lab, old, at);
        shows_the_database(&lab.psql("show pool_nodes"));
        has_the_address(lab, moved.leader);
        the_port_is_free(lab, old);
        lab.start_pgpool(old);
        comes_back_as_standby(lab, old);
        moved.ends("the old leader came back and stands by")
    },
    errors: &[],
};

fn shows_the_database(page: &str) {
    assert!(page.contains("10.0.8.10") && page.contains("| up "), "show pool_nodes shows:\n{page}");
}

pub const KILLED: Scenario = Scenario {
    name: "kill -9 of all of Pgpool",
    short: &[Method::Route],
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let at = now();
        lab.machine(old).kill("pgpool");
        let moved = another_leads(lab, old, at);
        the_port_is_free(lab, old);
        has_the_address(lab, moved.leader);
        moved.ends("released")
    },
    errors: &[],
};

const FROZEN: Open = Open::MayNotKnow(
    "The kernel goes on acknowledging for a process that is stopped. So a client that waits for an answer has nothing left to \
     send, and no packet of it reaches the new leader, which would reset the connection. TCP keepalives are such packets. \
     With routes, the old node resets its connections once it knows of the newer claim; by the other methods EC2 carries \
     nothing from there any more.",
);

pub const HANGS: Scenario = Scenario {
    name: "all of Pgpool hangs (SIGSTOP), and wakes",
    short: &[Method::ElasticIp],
    setup: plain,
    goal: GOAL,
    open: FROZEN,
    happens: |lab, old| {
        let at = now();
        lab.machine(old).freeze("pgpool");
        let moved = another_leads(lab, old, at);
        // Nobody told it: its file says leader, and the guard lives.
        assert!(lab.leadership(old).is_some());
        eventually("the old leader knows of the newer claim", A_LOOK, || {
            lab.superseded_by(old).map(drop).ok_or_else(|| "it does not".to_owned())
        });
        lab.machine(old).thaw("pgpool");
        lab.recorder.note("it goes on");
        eventually("the old leader's `down` comes", ELECTION, || match lab.leadership(old) {
            None => Ok(()),
            Some(_) => Err("its file says leader".to_owned()),
        });
        moved.ends_once_one_stays(lab, "superseded, until it woke and stood down")
    },
    errors: &[],
};

fn late_down(method: Method) -> Setup {
    Setup { late_down: true, ..plain(method) }
}

pub const LATE_DOWN: Scenario = Scenario {
    name: "the old leader's `down` comes 12 s late",
    short: &[Method::ElasticIp],
    setup: late_down,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let at = now();
        lab.stop_pgpool(old);
        let moved = another_leads(lab, old, at);
        let down = eventually("the late `down` is written", s(LATE_S) * 2, || match lab.leadership(old) {
            None => lab.desired(old).ok_or_else(|| "no file".to_owned()),
            Some(_) => Err("it still says leader".to_owned()),
        });
        let late = Duration::from_millis(down.written_ms).saturating_sub(moved.hook);
        assert!(late > s(2), "it was to come after the new leader's `up`, not {} after", seconds(late));
        the_port_is_free(lab, old);
        moved.ends(format!("the `down` came {} after the `up`", seconds(late)))
    },
    errors: &[],
};

/// Pgpool waits 5 s for a hook before it runs the other.
pub const OVERLAPPING: Scenario = Scenario {
    name: "`up` overtakes a `down` of 12 s on one node",
    short: &[Method::SecondaryIp],
    setup: late_down,
    goal: GOAL,
    open: Open::Told,
    happens: |lab, old| {
        let at = now();
        others(old).for_each(|node| lab.machine(node).kill("pgpool"));
        let dawdles = |lab: &Lab| !lab.machine(old).family("late").is_empty();
        eventually("`down` runs", ELECTION, || if dawdles(lab) { Ok(()) } else { Err("not yet".to_owned()) });
        others(old).for_each(|node| lab.start_pgpool(node));
        let (leader, _) = hook_after(lab, at, |_| true);
        assert_eq!(leader, old, "the leader that lost its quorum found it again");
        assert!(dawdles(lab), "the `down` was to outlast the start of the `up`");
        eventually("`down` ends", s(LATE_S) * 2, || if dawdles(lab) { Err("it runs".to_owned()) } else { Ok(()) });
        somebody_leads(lab, at).ends("the `down` ended after the `up`")
    },
    errors: &[],
};

pub const QUORUM: Scenario = Scenario {
    name: "quorum lost for 5 s and found",
    short: &[Method::Route],
    setup: plain,
    goal: GOAL,
    open: Open::Told,
    happens: |lab, old| {
        let at = now();
        others(old).for_each(|node| lab.stop_pgpool(node));
        eventually("the leader stands by", ELECTION, || match lab.leadership(old) {
            None => Ok(()),
            Some(_) => Err("it leads without a quorum".to_owned()),
        });
        eventually("it lets go", CLEAN, || {
            let mut held = lab.holders();
            // Routes stay for the successor.
            held.retain(|what, holder| holder.is_some() && !what.starts_with("route"));
            if held.is_empty() { Ok(()) } else { Err(format!("{held:?}")) }
        });
        sleep_until(now() + s(5));
        others(old).for_each(|node| lab.start_pgpool(node));
        let moved = somebody_leads(lab, at);
        moved.ends(if moved.leader == old { "the same node leads" } else { "another node leads" })
    },
    errors: &[],
};

pub const TWICE: Scenario = Scenario {
    name: "two failovers within 5 s",
    short: NOWHERE,
    setup: plain,
    goal: GOAL,
    open: Open::ToldAtOnce,
    happens: |lab, old| {
        let Twice { between, story, .. } = twice(lab, old);
        assert!(between < s(5), "{} between the hooks", seconds(between));
        story
    },
    errors: &[],
};

pub struct Twice {
    /// The leader in between.
    pub second: usize,
    /// From its hook to the next one's.
    pub between: Duration,
    pub story: Story,
}

/// The new leader's Pgpool dies as soon as its hook has written that it leads.
pub fn twice(lab: &mut Lab, old: usize) -> Twice {
    let at = now();
    lab.stop_pgpool(old);
    let (second, first_hook) = hook_after(lab, at, |node| node != old);
    let again = now();
    lab.machine(second).kill("pgpool");
    lab.recorder.note("killed as well");
    // Two of three must live. Back before the first election it would win that, by its priority.
    lab.start_pgpool(old);
    let (_, second_hook) = hook_after(lab, again, |node| node != second);
    let between = second_hook.saturating_sub(first_hook);
    let story = somebody_leads(lab, at).ends(format!("{} between the hooks", seconds(between)));
    Twice { second, between, story }
}

const REBOOTED: Open = Open::MayNotKnow(
    "Here the kernel ends its processes, and says so, before the network goes. Where power fails nobody is told: then it is \
     as if the leader were cut off.",
);

pub const REBOOT: Scenario = Scenario {
    name: "reboot of the leader",
    short: &[Method::SecondaryIp],
    setup: plain,
    goal: GOAL,
    open: REBOOTED,
    happens: |lab, old| {
        let at = now();
        lab.power_off(old);
        let moved = another_leads(lab, old, at);
        sleep_until(at + s(15));
        lab.boot(old);
        comes_back_as_standby(lab, old);
        assert!(lab.desired(old).is_none(), "nothing outlives a reboot, and a standby runs no hook");
        moved.ends("back, and stands by")
    },
    errors: &[],
};
