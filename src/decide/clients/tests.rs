//! Tests of where the clients are led, and of whether nobody serves them.

use super::*;
use crate::binding::{Account, Anchor, Binding, Handover, OnRelease};
use crate::ids::Term;
use crate::observe::seen::{Copies, Serving, Witness};

const S: fn(u64) -> Duration = Duration::from_secs;
const OFTEN: Duration = Duration::from_secs(10);

fn key(target: &str) -> BindingKey {
    BindingKey::new(Kind::Route, target)
}

fn vip(targets: &[&str]) -> Vip {
    let binding = |target: &&str| Binding::Route {
        account: Account::Own,
        table: target.parse().unwrap(),
        destination: "20.0.0.50/32".parse().unwrap(),
        eni: "eni-a".parse().unwrap(),
        on_release: OnRelease::Keep,
    };
    Vip {
        delegate_ip: "20.0.0.50".parse().unwrap(),
        instance: "i-a".parse().unwrap(),
        bindings: targets.iter().map(|target| (key(target), Some(binding(target)))).collect(),
        obstacles: BTreeMap::new(),
        claims: ClaimMode::Tags,
        handover: Handover::default(),
        anchor: None,
    }
}

fn at(instance: &str) -> Seen {
    let holder = Holder { name: "eni-x".to_owned(), instance: instance.parse().ok(), blackhole: false };
    Seen::Elsewhere(holder)
}

fn unread() -> Seen {
    Seen::Unknown(WhyUnseen::NotRead)
}

fn seen(seen: &[Seen], terms: &[(&str, u64)], s: u64) -> Observed {
    let sights = seen.iter().enumerate();
    let sight = |(n, seen): (usize, &Seen)| (key(&format!("rtb-{n}")), Sight { seen: seen.clone(), at: S(s) });
    Observed {
        sights: sights.map(sight).collect(),
        local: BTreeMap::new(),
        claims: Claims::Read {
            terms: terms.iter().map(|(node, term)| (node.parse().unwrap(), Term(*term))).collect(),
            withdrawn: BTreeMap::new(),
            implausible: BTreeMap::new(),
            edited: BTreeMap::new(),
            at: S(s),
            elsewhere: BTreeMap::new(),
        },
        witness: Witness::Silent,
        serving: Serving::default(),
        server_ms: None,
    }
}

/// A look: what the route leads to, the claims on record, and the second.
type Look<'a> = (Seen, &'a [(&'a str, u64)], u64);

/// The clients after these looks of a standby.
fn after(looks: &[Look<'_>]) -> Clients {
    let mut reads = ClientReads::default();
    let mut clients = None;
    for (look, terms, s) in looks {
        let observed = seen(std::slice::from_ref(look), terms, *s);
        reads.learn(&vip(&["rtb-0"]), &observed, &Standing::Standby, OFTEN);
        clients = reads.clients(&observed, &Standing::Standby);
    }
    clients.unwrap()
}

#[test]
fn nobody_serves_once_two_looks_show_it_for_longer_than_a_failover_takes() {
    let (led, gone): (&'static [_], &'static [_]) = (&[("i-b", 7)], &[("i-b", 0)]);
    let here = || Seen::Here { association: None };
    let late = NOBODY_AFTER.as_secs();
    // These looks, each 10 s after the one before, up to the time after which nobody serves.
    let on = |seen: &Seen, claims: &'static [(&str, u64)], until: u64| -> Vec<Look<'static>> {
        (10..until).step_by(10).chain([until]).map(|s| (seen.clone(), claims, s)).collect()
    };
    let with = |first: Look<'static>, then: Vec<Look<'static>>| [vec![first], then].concat();
    for (looks, nobody) in [
        // An ordinary failover is over before.
        (vec![(at("i-b"), led, 1), (Seen::Absent, gone, 10), (at("i-c"), gone, 25)], false),
        (vec![(Seen::Absent, gone, 10)], false),
        (on(&Seen::Absent, gone, 9 + late), false),
        (on(&Seen::Absent, gone, 10 + late), true),
        // Nobody looked for so long that a node may have served meanwhile.
        (vec![(Seen::Absent, gone, 10), (Seen::Absent, gone, 11 + late)], false),
        // The routes of a former leader lead to nobody.
        (with((at("i-b"), led, 1), on(&at("i-b"), gone, 10 + late)), true),
        (on(&at("i-b"), led, 10 + late), false),
        (on(&here(), gone, 10 + late), true),
        // A node that took the VIP after its withdrawal may not be able to record its claim.
        (on(&at("i-b"), gone, 10 + late), false),
        (with((at("i-b"), led, 1), with((Seen::Absent, gone, 9), on(&at("i-b"), gone, 10 + late))), false),
        // A look between that shows a leader begins the time anew.
        (with((Seen::Absent, gone, 5), with((at("i-c"), led, 9), on(&Seen::Absent, gone, 9 + late))), false),
        // No node has led yet.
        (on(&Seen::Absent, &[], 900), false),
        // This daemon saw a leader before, although no claim is on record.
        (with((at("i-b"), &[], 1), on(&Seen::Absent, &[], 90)), true),
        // A read that fails says nothing.
        (vec![(Seen::Absent, gone, 10), (unread(), gone, 90)], false),
    ] {
        assert_eq!(after(&looks).nobody_serves, nobody, "{looks:?}");
    }
}

#[test]
fn where_claims_are_off_old_tags_say_nothing() {
    let off = Vip { claims: ClaimMode::Off, ..vip(&["rtb-0"]) };
    let (mut reads, mut clients) = (ClientReads::default(), None);
    for (term, s) in [(7, 1), (0, 10), (0, 20), (0, 30), (0, 40)] {
        let observed = seen(&[at("i-b")], &[("i-b", term)], s);
        reads.learn(&off, &observed, &Standing::Standby, OFTEN);
        clients = reads.clients(&observed, &Standing::Standby);
    }
    let clients = clients.unwrap();
    assert_eq!((clients.leads, clients.nobody_since), (None, None));
    let (mut reads, observed) = (ClientReads::default(), seen(&[Seen::Absent], &[("i-b", 0)], 1));
    reads.learn(&off, &observed, &Standing::Standby, OFTEN);
    assert_eq!(reads.nobody_since(), None, "no node is known to have led");
}

#[test]
fn places_that_differ_lead_to_nobody_if_each_of_them_does() {
    let late = NOBODY_AFTER.as_secs();
    for (other, nobody) in [(at("i-b"), true), (at("i-c"), false)] {
        let (mut reads, mut clients) = (ClientReads::default(), None);
        for (led, s) in [(7, 1), (0, 10), (0, 20), (0, 30), (0, 10 + late)] {
            let observed = seen(&[other.clone(), Seen::Absent], &[("i-b", led)], s);
            reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Standby, OFTEN);
            clients = reads.clients(&observed, &Standing::Standby);
        }
        let clients = clients.unwrap();
        assert_eq!((clients.place, clients.nobody_serves), (LedTo::Several, nobody), "{other:?}");
    }
}

#[test]
fn an_older_read_that_shows_the_former_place_once_more_is_no_move() {
    let late = NOBODY_AFTER.as_secs();
    let mut looks = vec![(at("i-b"), 7, 1), (Seen::Absent, 0, 10), (at("i-b"), 0, 11)];
    looks.extend((20..20 + late).step_by(10).chain([20 + late]).map(|s| (Seen::Absent, 0, s)));
    let (mut reads, mut clients) = (ClientReads::default(), None);
    for (other, led, s) in looks {
        let observed = seen(&[at("i-b"), other], &[("i-b", led)], s);
        reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Standby, OFTEN);
        clients = reads.clients(&observed, &Standing::Standby);
    }
    assert!(clients.as_ref().is_some_and(|clients| clients.nobody_serves), "{clients:?}");
}

#[test]
fn of_a_node_that_gave_up_its_claim_nothing_is_told_while_the_record_cannot_be_read() {
    let looked = |claims: bool, led: u64, s: u64| {
        let mut observed = seen(&[at("i-b")], &[("i-b", led)], s);
        if !claims {
            observed.claims = Claims::Unknown;
        }
        observed
    };
    // The node may have claimed the VIP anew since the last read of the record.
    for (claims, nobody) in [(true, true), (false, false)] {
        let mut reads = ClientReads::default();
        let mut looks = vec![looked(true, 7, 1), looked(true, 0, 10)];
        looks.extend([20, 30, 40].map(|s| looked(claims, 0, s)));
        for observed in &looks {
            reads.learn(&vip(&["rtb-0"]), observed, &Standing::Standby, OFTEN);
        }
        let told = reads.clients(&looks[4], &Standing::Standby).unwrap();
        assert_eq!(told.nobody_serves, nobody, "{claims}");
    }
}

#[test]
fn a_claim_counts_on_every_resource_that_carries_claims() {
    let looked = |on_the_other: u64, given_up: u64, s: u64| {
        let mut observed = seen(&[at("i-b")], &[("i-b", 7)], s);
        let Claims::Read { elsewhere, .. } = &mut observed.claims else { unreachable!() };
        let named = |term| BTreeMap::from([("i-b".parse().unwrap(), Term(term))]);
        let copies = Copies { terms: named(on_the_other), withdrawn: named(given_up), at: S(s), ..Copies::default() };
        elsewhere.insert(Anchor::RouteTable(Account::Own, "rtb-9".parse().unwrap()), copies);
        observed
    };
    for (on_the_other, given_up, leads) in [(0, 7, Some(false)), (9, 7, None)] {
        let mut reads = ClientReads::default();
        reads.learn(&vip(&["rtb-0"]), &looked(7, 0, 1), &Standing::Standby, OFTEN);
        let observed = looked(on_the_other, given_up, 10);
        reads.learn(&vip(&["rtb-0"]), &observed, &Standing::Standby, OFTEN);
        assert_eq!(reads.clients(&observed, &Standing::Standby).unwrap().leads, leads, "{on_the_other}");
    }
}

#[test]
fn a_failed_read_leaves_the_last_known_place_with_its_age() {
    let clients = after(&[(at("i-b"), &[("i-b", 7)], 10), (unread(), &[], 50)]);
    assert!(!clients.is_current && matches!(clients.place, LedTo::Elsewhere(_)), "{clients:?}");
    assert_eq!(clients.read_at, S(10));
}

#[test]
fn what_the_config_names_and_ec2_does_not_have_is_no_failed_read() {
    let missing = || Seen::Unknown(WhyUnseen::NoSuchResource("rtb-1".to_owned()));
    let (mut reads, observed) = (ClientReads::default(), seen(&[at("i-b"), missing()], &[], 1));
    reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Standby, OFTEN);
    let clients = reads.clients(&observed, &Standing::Standby).unwrap();
    assert!(clients.is_current && matches!(clients.place, LedTo::Elsewhere(_)), "{clients:?}");
}

#[test]
fn bindings_that_lead_apart_are_no_one_place() {
    let here = || Seen::Here { association: None };
    for (looks, place) in [
        (vec![here(), here()], LedTo::Here),
        (vec![here(), Seen::Absent], LedTo::Several),
        (vec![here(), at("i-b")], LedTo::Several),
        (vec![Seen::Absent, Seen::Absent], LedTo::Nowhere),
    ] {
        let (mut reads, observed) = (ClientReads::default(), seen(&looks, &[], 1));
        reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Leader, OFTEN);
        assert_eq!(reads.clients(&observed, &Standing::Leader).unwrap().place, place);
    }
}
#[test]
fn two_looks_may_be_as_far_apart_as_two_that_follow_one_another_slowly() {
    let gone: &[(&str, u64)] = &[("i-b", 0)];
    for (gap, counted) in [(20, true), (21, false)] {
        let looks = [(Seen::Absent, gone, 10), (Seen::Absent, gone, 10 + gap)];
        let first = if counted { 10 } else { 10 + gap };
        assert_eq!(after(&looks).nobody_since, Some(S(first)), "{gap} s between two looks");
    }
}

#[test]
fn any_claim_on_record_tells_that_a_node_has_led() {
    let mut implausible = seen(&[Seen::Absent], &[], 1);
    let mut copied = seen(&[Seen::Absent], &[], 1);
    let mut empty = seen(&[Seen::Absent], &[], 1);
    let named = BTreeMap::from([("i-b".parse().unwrap(), Term(7))]);
    let other = || Anchor::RouteTable(Account::Own, "rtb-9".parse().unwrap());
    if let Claims::Read { implausible, .. } = &mut implausible.claims {
        implausible.clone_from(&named);
    }
    for (observed, terms) in [(&mut copied, named), (&mut empty, BTreeMap::new())] {
        if let Claims::Read { elsewhere, .. } = &mut observed.claims {
            elsewhere.insert(other(), Copies { terms, at: S(1), ..Copies::default() });
        }
    }
    for (observed, led) in [(implausible, true), (copied, true), (empty, false)] {
        let mut reads = ClientReads::default();
        reads.learn(&vip(&["rtb-0"]), &observed, &Standing::Standby, OFTEN);
        assert_eq!(reads.nobody_since(), led.then_some(S(1)), "{:?}", observed.claims);
    }
}

#[test]
fn two_enis_are_one_place_if_one_instance_has_both() {
    let at = |name: &str, instance: Option<&str>| {
        let instance = instance.map(|id| id.parse().unwrap());
        Seen::Elsewhere(Holder { name: name.to_owned(), instance, blackhole: false })
    };
    for (other, is_one) in [
        (at("eni-y", Some("i-b")), true),
        (at("eni-y", Some("i-c")), false),
        (at("eni-y", None), false),
        (at("eni-x", None), true),
    ] {
        let (mut reads, observed) = (ClientReads::default(), seen(&[at("eni-x", Some("i-b")), other], &[], 1));
        reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Standby, OFTEN);
        let place = reads.clients(&observed, &Standing::Standby).unwrap().place;
        assert_eq!(place != LedTo::Several, is_one, "{observed:?}");
    }
    let (mut reads, observed) = (ClientReads::default(), seen(&[at("eni-x", None), at("eni-y", None)], &[], 1));
    reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Standby, OFTEN);
    assert_eq!(reads.clients(&observed, &Standing::Standby).unwrap().place, LedTo::Several, "nobody knows whose");
}

#[test]
fn what_left_the_configuration_or_ec2_leads_nobody_any_more() {
    let missing = Seen::Unknown(WhyUnseen::NoSuchResource("rtb-1".to_owned()));
    for (targets, second) in [(&["rtb-0"][..], at("i-c")), (&["rtb-0", "rtb-1"], missing)] {
        let mut reads = ClientReads::default();
        let before = seen(&[at("i-b"), at("i-c")], &[], 1);
        reads.learn(&vip(&["rtb-0", "rtb-1"]), &before, &Standing::Standby, OFTEN);
        assert!(reads.last(&key("rtb-1")).is_some_and(|sight| sight.at == S(1)));
        let mut now = seen(&[at("i-b"), second], &[], 10);
        now.sights.retain(|key, _| targets.contains(&key.target.as_str()));
        reads.learn(&vip(targets), &now, &Standing::Standby, OFTEN);
        assert_eq!(reads.last(&key("rtb-1")), None);
        assert!(matches!(reads.clients(&now, &Standing::Standby).unwrap().place, LedTo::Elsewhere(_)));
    }
}

#[test]
fn only_a_leader_serves_here_and_a_route_to_what_is_gone_leads_nowhere() {
    let here = || Seen::Here { association: None };
    let rival = claim::Rival { node: "i-b".parse().unwrap(), term: Term(9) };
    for (standing, leads, nobody) in [
        (Standing::Leader, true, None),
        (Standing::Standby, false, Some(S(1))),
        // Its file says leader, and it gives up what is here as soon as it can.
        (Standing::Superseded(rival), false, None),
        (Standing::Unknown, false, None),
    ] {
        let (mut reads, observed) = (ClientReads::default(), seen(&[here()], &[("i-a", 7)], 1));
        reads.learn(&vip(&["rtb-0"]), &observed, &standing, OFTEN);
        let clients = reads.clients(&observed, &standing).unwrap();
        assert_eq!((clients.leads, clients.nobody_since), (Some(leads), nobody), "{standing:?}");
    }
    let gone = Seen::Elsewhere(Holder { name: "eni-x".to_owned(), instance: None, blackhole: true });
    let clients = after(&[(gone, &[("i-b", 7)], 1)]);
    assert_eq!((clients.place, clients.nobody_since), (LedTo::Nowhere, Some(S(1))));
}

#[test]
fn what_leads_no_clients_is_not_asked_for_and_a_count_that_begins_anew_has_no_beginning() {
    let mut observed = seen(&[Seen::Absent], &[("i-b", 0)], 1);
    let local = BindingKey::new(Kind::LocalAddress, "20.0.0.50");
    observed.sights.insert(local.clone(), Sight { seen: unread(), at: Moment::ZERO });
    let mut reads = ClientReads::default();
    let mut vip = vip(&["rtb-0"]);
    vip.bindings.insert(local.clone(), None);
    reads.learn(&vip, &observed, &Standing::Standby, OFTEN);
    assert!(reads.clients(&observed, &Standing::Standby).unwrap().is_current);
    observed.sights.insert(local, Sight { seen: Seen::Here { association: None }, at: Moment::ZERO });
    reads.learn(&vip, &observed, &Standing::Standby, OFTEN);
    let clients = reads.clients(&observed, &Standing::Standby).unwrap();
    assert_eq!((clients.place, clients.read_at, clients.nobody_since), (LedTo::Nowhere, S(1), Some(S(1))));
    reads.begin_anew();
    assert_eq!(reads.nobody_since(), None);
}

#[test]
fn a_node_that_serves_anew_after_its_withdrawal_counts_as_one_that_may_lead() {
    // i-b gave its claim up, the binding went to i-c, and came back to i-b, whose tag stays withdrawn.
    let (led, gone): (&[_], &[_]) = (&[("i-b", 7)], &[("i-b", 0)]);
    let clients = after(&[(at("i-b"), led, 1), (at("i-c"), gone, 10), (at("i-b"), gone, 20)]);
    assert_eq!((clients.leads, clients.nobody_since), (None, None));
    // Its claim stands again and ends again: it gave that up with the binding at it.
    let clients = after(&[(at("i-b"), led, 1), (at("i-c"), gone, 10), (at("i-b"), led, 20), (at("i-b"), gone, 30)]);
    assert_eq!((clients.leads, clients.nobody_since), (Some(false), Some(S(30))));
}

#[test]
fn a_look_that_does_not_read_the_claims_leaves_who_gave_up_and_tells_nothing_of_what_moved() {
    let unread_claims = |looks: &[Seen], s| Observed { claims: Claims::Unknown, ..seen(looks, &[], s) };
    let missing = || Seen::Unknown(WhyUnseen::NoSuchResource("rtb-0".to_owned()));
    for (then, leads) in [
        (vec![at("i-b")], Some(false)),
        // The route moved to another node and back, or its table was gone for a while.
        (vec![at("i-c"), at("i-b")], None),
        (vec![missing(), at("i-b")], None),
    ] {
        let mut reads = ClientReads::default();
        for (term, s) in [(7, 1), (0, 10)] {
            reads.learn(&vip(&["rtb-0"]), &seen(&[at("i-b")], &[("i-b", term)], s), &Standing::Standby, OFTEN);
        }
        let mut observed = seen(&[], &[], 0);
        for (s, then) in (20..).step_by(10).zip(then) {
            observed = unread_claims(&[then], s);
            reads.learn(&vip(&["rtb-0"]), &observed, &Standing::Standby, OFTEN);
        }
        assert_eq!(reads.clients(&observed, &Standing::Standby).unwrap().leads, leads, "{observed:?}");
    }
}

#[test]
fn a_node_to_which_one_of_two_routes_was_moved_after_its_withdrawal_may_lead() {
    let mut reads = ClientReads::default();
    let mut observed = seen(&[], &[], 0);
    for (other, term, s) in [(at("i-c"), 7, 1), (at("i-c"), 0, 10), (at("i-b"), 0, 20)] {
        observed = seen(&[at("i-b"), other], &[("i-b", term)], s);
        reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Standby, OFTEN);
    }
    assert_eq!(reads.clients(&observed, &Standing::Standby).unwrap().leads, None);
}
