//! The use that others make of decisions: episodes, disputes, the interval to wait for, the state to believe, repairs.

use std::time::Duration;

use vipkeeper::binding::{BindingKey, Kind};
use vipkeeper::config::{Intervals, LeaderInterval, WitnessMode};
use vipkeeper::decide::Decider;
use vipkeeper::decide::memory::{Memory, Track};
use vipkeeper::decide::pace::longest;
use vipkeeper::decide::plan::State;
use vipkeeper::decide::timing::EASY_INTERVAL;
use vipkeeper::decide::witness::Heard;
use vipkeeper::desired::{Claim, Desired, WhyStandby};
use vipkeeper::ids::ClaimId;
use vipkeeper::observe::seen::{Now, Seen, Sight, Witness};

const S: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn a_binding_that_is_out_of_place_is_so_in_one_episode() {
    let out_of_place = [State::Drift, State::Waiting, State::Blocked];
    let all = [State::InSync, State::Drift, State::Unknown, State::Waiting, State::Blocked];
    for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
        let both_out = out_of_place.contains(one) && out_of_place.contains(other);
        assert_eq!(one.is_one_episode(*other), one == other || both_out, "{one:?} {other:?}");
    }
}

#[test]
fn a_dispute_names_the_hook_that_did_not_come() {
    let claim = Claim { id: ClaimId::new("c1"), started_ms: 5, started_at: None };
    for (file, word, hook) in [
        (Desired::Standby(WhyStandby::Down), Witness::Escalated, "`up`"),
        (Desired::Leader(claim), Witness::NotEscalated, "`down`"),
    ] {
        let mut decider = Decider::default();
        decider.judge(WitnessMode::Check, &file, Heard { word, at: S(100) }, Now { at: S(100), wall_ms: 7 });
        let message = decider.dispute().unwrap().message();
        assert!(message.contains(&format!("no {hook} has come")), "{message}");
    }
}

#[test]
fn the_longest_interval_is_the_leaders_or_the_standbys() {
    for (leader, standby, wanted) in [
        (LeaderInterval::Auto, S(30), S(30)),
        (LeaderInterval::Auto, S(5), EASY_INTERVAL),
        (LeaderInterval::Every(S(60)), S(30), S(60)),
    ] {
        assert_eq!(longest(&Intervals { leader, standby }), wanted);
    }
}

#[test]
fn a_look_that_begins_when_an_own_change_has_settled_is_believed() {
    let here = Seen::Here { association: None };
    let track = Track { expected: Some((here.clone(), S(105))), ..Track::default() };
    let sight = |at| Sight { seen: Seen::Absent, at };
    assert_eq!(track.believe(&sight(Duration::from_millis(104_999))), &here);
    assert_eq!(track.believe(&sight(S(105))), &Seen::Absent);
}

#[test]
fn a_binding_is_contested_from_the_third_repair_on() {
    for (retakes, is_contested) in [(0, false), (2, false), (3, true), (4, true)] {
        let track = Track { retakes, ..Track::default() };
        let tracks = [(BindingKey::new(Kind::Route, "rtb-1"), track)].into();
        let memory = Memory { tracks, ..Memory::default() };
        assert_eq!(memory.contested().next().is_some(), is_contested, "{retakes} repairs");
    }
}
