//! Tests of claims that are out of sight, that stand, and that were given up.

use super::*;
use crate::binding::{Account, Binding, BindingKey, Handover, Kind, OnRelease};
use crate::ids::ClaimId;

const S: fn(u64) -> Duration = Duration::from_secs;

fn id(id: &str) -> InstanceId {
    id.parse().unwrap()
}

fn own(term: u64) -> OwnClaim {
    OwnClaim {
        id: ClaimId::new("c1"),
        started_ms: term,
        term: Term(term),
        adopted_at: S(100),
        age_at_adoption: Duration::ZERO,
        term_settled: true,
        term_mended: true,
        recorded: true,
        unremembered: false,
        superseded_by: None,
        rival_on: BTreeSet::new(),
        rival_shown_at: Moment::ZERO,
        seen_given_up: BTreeMap::new(),
    }
}

/// A VIP with these route tables; the first one is its anchor.
fn vip(tables: &[&str]) -> Vip {
    let route = |table: &&str| Binding::Route {
        account: Account::Own,
        table: table.parse().unwrap(),
        destination: "20.0.0.50/32".parse().unwrap(),
        eni: "eni-a".parse().unwrap(),
        on_release: OnRelease::Keep,
    };
    let bindings = tables.iter().map(|table| (BindingKey::new(Kind::Route, *table), Some(route(table))));
    Vip {
        delegate_ip: "20.0.0.50".parse().unwrap(),
        instance: id("i-a"),
        bindings: bindings.collect(),
        obstacles: BTreeMap::new(),
        claims: ClaimMode::Tags,
        handover: Handover::default(),
        anchor: Some(Anchor::RouteTable(Account::Own, tables[0].parse().unwrap())),
    }
}

/// A look at second `s` that shows these claims, and which of them were given up.
fn read(terms: &[(&str, u64)], withdrawn: &[(&str, u64)], s: u64) -> Claims {
    let map = |of: &[(&str, u64)]| of.iter().map(|(node, term)| (id(node), Term(*term))).collect();
    Claims::Read {
        terms: map(terms),
        withdrawn: map(withdrawn),
        implausible: BTreeMap::new(),
        edited: BTreeMap::new(),
        at: S(s),
        elsewhere: BTreeMap::new(),
    }
}

#[test]
fn a_newer_claim_is_out_of_sight_once_the_vip_has_none_of_its_resources() {
    let rival = || Some(Rival { node: id("i-b"), term: Term(9) });
    for (superseded_by, on, out_of_sight) in [
        (rival(), &["rtb-9"][..], true),
        (rival(), &["rtb-1"], false),
        // Another resource than the anchor.
        (rival(), &["rtb-2"], false),
        (rival(), &["rtb-9", "rtb-2"], false),
        // An earlier version did not remember where it was.
        (rival(), &[], false),
        (None, &["rtb-9"], false),
    ] {
        let rival_on: BTreeSet<String> = on.iter().map(|id| (*id).to_owned()).collect();
        let own = OwnClaim { superseded_by, rival_on: rival_on.clone(), ..own(5) };
        let found = rival_out_of_sight(&own, &vip(&["rtb-1", "rtb-2"]));
        assert_eq!(found, out_of_sight.then_some(&rival_on), "{on:?}");
    }
}

#[test]
fn the_claims_of_others_that_stand_are_those_that_nobody_gave_up() {
    let claims = read(&[("i-a", 5), ("i-b", 7), ("i-c", 0)], &[("i-c", 6)], 101);
    let standing = standing_of_others(&claims, &id("i-a"));
    assert_eq!(standing, [Rival { node: id("i-b"), term: Term(7) }]);
    assert_eq!(standing_of_others(&Claims::Unknown, &id("i-a")), []);
}

#[test]
fn a_newer_claim_that_was_given_up_is_noted_when_it_is_news() {
    let mut own = own(5);
    let vip = vip(&["rtb-1"]);
    let mut look = |claims: &Claims, s: u64| {
        learn(&mut own, &vip, claims, S(s));
        own.seen_given_up.get(&id("i-b")).copied()
    };
    assert_eq!(look(&read(&[("i-b", 0)], &[("i-b", 4)], 110), 110), None, "an older one");
    assert_eq!(look(&read(&[("i-b", 0)], &[("i-b", 7)], 120), 120), Some((Term(7), S(120))));
    assert_eq!(look(&read(&[("i-b", 0)], &[("i-b", 7)], 130), 130), Some((Term(7), S(120))), "known");
    assert_eq!(look(&read(&[("i-b", 0)], &[("i-b", 9)], 140), 140), Some((Term(9), S(140))), "a newer one");
    assert_eq!(look(&read(&[("i-b", 0)], &[("i-b", 8)], 141), 141), Some((Term(9), S(140))), "an older read");
    // Another node's claim stands meanwhile, which says nothing of this one.
    assert_eq!(look(&read(&[("i-c", 6)], &[], 150), 150), Some((Term(9), S(140))));
    let both = read(&[("i-b", 0), ("i-c", 6)], &[("i-b", 9)], 160);
    assert_eq!(look(&both, 160), Some((Term(9), S(140))));
    // It stood again.
    assert_eq!(look(&read(&[("i-b", 9)], &[], 170), 170), Some((Term(9), S(140))));
    assert_eq!(look(&read(&[("i-b", 0)], &[("i-b", 9)], 180), 180), Some((Term(9), S(180))));
}
