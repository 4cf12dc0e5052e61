//! Tells where EC2 leads the clients of a VIP, as far as this node has read it, and whether they reach nobody for longer
//! than a failover takes. Only reads count here, and no expectation of this node's own changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::binding::{BindingKey, ClaimMode, Kind, Vip};
use crate::decide::claim::{self, Standing};
use crate::decide::timing::NOBODY_AFTER;
use crate::ids::InstanceId;
use crate::observe::seen::{Claims, Holder, Moment, Observed, Seen, Sight, WhyUnseen};

/// The place to which EC2 leads the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedTo {
    /// This node.
    Here,
    Elsewhere(Holder),
    /// No instance: nothing in EC2 points anywhere, or only at something that is gone.
    Nowhere,
    /// The bindings in EC2 do not all lead to one place.
    Several,
}

/// Where the clients are led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    pub place: LedTo,
    /// When the oldest of the reads began that showed the place.
    pub read_at: Moment,
    /// Whether the last read of each binding succeeded. If not, the place is the one that was read last.
    pub is_current: bool,
    /// Whether the place is a node that leads. `None` where no claim on record tells.
    pub leads: Option<bool>,
    /// When the first of the reads began that all showed that nobody serves. `None` if the last read showed otherwise.
    pub nobody_since: Option<Moment>,
    /// Whether nobody serves for longer than a failover takes.
    pub nobody_serves: bool,
}

/// The reads so far of where the clients of one VIP are led.
#[derive(Debug, Clone, Default)]
pub struct ClientReads {
    /// The last sight of each binding that was not unknown.
    last: BTreeMap<BindingKey, Sight>,
    /// Whether a node is known to have led since this VIP exists.
    ever_led: bool,
    /// The other instances to which a binding has led without a break since a read that showed no withdrawal of theirs.
    served: BTreeSet<InstanceId>,
    /// Those of them that have withdrawn their claims since, and to which no binding was moved afterwards.
    given_up: BTreeSet<InstanceId>,
    /// The bindings that were moved to a node whose claim was withdrawn by then, for as long as they are there. Such a node
    /// may serve, although it cannot record that. An older read may show a binding at its former place once more.
    moved: BTreeMap<BindingKey, InstanceId>,
    /// The first and the last read that showed that nobody serves, without one between that showed otherwise, and without
    /// a long time between two.
    nobody: Option<(Moment, Moment)>,
}

impl ClientReads {
    /// Takes a look into account. `often` is the longest time between two looks while nobody serves.
    pub fn learn(&mut self, vip: &Vip, observed: &Observed, standing: &Standing, often: Duration) {
        self.last.retain(|key, _| vip.bindings.contains_key(key));
        self.moved.retain(|key, _| vip.bindings.contains_key(key));
        for (key, sight) in &observed.sights {
            if is_of_nothing(&sight.seen) {
                self.last.remove(key);
                self.moved.remove(key);
            } else if !matches!(sight.seen, Seen::Unknown(_)) {
                let before = self.last.insert(key.clone(), sight.clone());
                let holder = instance(place(&sight.seen));
                if before.is_some_and(|before| instance(place(&before.seen)) != holder) {
                    self.moved.remove(key);
                    self.moved.extend(holder.map(|node| (key.clone(), node)));
                }
            }
        }
        self.learn_withdrawals(vip, &observed.claims);
        let Some(led) = self.led(observed).filter(|led| led.is_current) else { return };
        let recorded = matches!(&observed.claims, Claims::Read { terms, implausible, elsewhere, .. }
            if !terms.is_empty() || !implausible.is_empty() || elsewhere.values().any(|copies| !copies.terms.is_empty()));
        self.ever_led |= (recorded && vip.claims == ClaimMode::Tags) || led.place != LedTo::Nowhere;
        // The places may differ, and each lead to nobody: an Elastic IP is released where a route stays.
        let nobody = self.leading().all(|(kind, sight)| match place(&sight.seen) {
            LedTo::Nowhere => self.ever_led,
            // Where the routes of a former leader stay until a successor replaces them, they lead to nobody. An address
            // does not stay: its node releases it, and a node whose release fails, or that is dead, shows as such itself. An
            // address that is there all the same was most likely taken again by a node that cannot record that. Of a route,
            // nothing in EC2 tells the two apart, and the more frequent case counts.
            LedTo::Elsewhere(holder) => kind == Kind::Route && self.leads(&holder) == Some(false),
            LedTo::Here => *standing == Standing::Standby,
            LedTo::Several => false,
        });
        // A node that had given up its claim may have claimed the VIP anew since the last read of the record.
        let is_given_up = |place| matches!(place, LedTo::Elsewhere(holder) if self.leads(&holder) == Some(false));
        if nobody && observed.claims == Claims::Unknown && self.places().any(is_given_up) {
            return;
        }
        // Of a long time between two looks, nobody knows what was true in it.
        let goes_on = self.nobody.filter(|(_, last)| led.read_at <= *last + often * 2);
        let first = goes_on.map_or(led.read_at, |(first, _)| first);
        self.nobody = nobody.then_some((first, led.read_at));
    }

    fn learn_withdrawals(&mut self, vip: &Vip, claims: &Claims) {
        let holders: BTreeSet<_> = self.places().filter_map(instance).collect();
        self.served.retain(|node| holders.contains(node));
        // Where claims are off, old tags say nothing.
        if vip.claims == ClaimMode::Tags && matches!(claims, Claims::Read { .. }) {
            let serve = holders.into_iter().filter(|node| !claim::has_given_up(claims, node));
            self.served.extend(serve);
            self.moved.retain(|_, node| claim::has_given_up(claims, node));
            self.given_up = self.served.iter().filter(|node| claim::has_given_up(claims, node)).cloned().collect();
        }
        let moved: BTreeSet<_> = self.moved.values().collect();
        self.given_up
            .retain(|node| vip.claims == ClaimMode::Tags && self.served.contains(node) && !moved.contains(node));
    }

    /// Begins anew to count for how long nobody serves.
    pub fn begin_anew(&mut self) {
        self.nobody = None;
    }

    /// When the first of the reads began that all showed that nobody serves. `None` if the last read showed otherwise.
    #[must_use]
    pub fn nobody_since(&self) -> Option<Moment> {
        self.nobody.map(|(first, _)| first)
    }

    /// The last sight of a binding that was not unknown.
    #[must_use]
    pub fn last(&self, key: &BindingKey) -> Option<&Sight> {
        self.last.get(key)
    }

    /// Where the clients are led; `None` if nothing of the VIP has been read.
    #[must_use]
    pub fn clients(&self, observed: &Observed, standing: &Standing) -> Option<Clients> {
        let Led { place, read_at, is_current } = self.led(observed)?;
        let leads = match &place {
            LedTo::Here => Some(*standing == Standing::Leader),
            LedTo::Elsewhere(holder) => self.leads(holder),
            LedTo::Nowhere | LedTo::Several => None,
        };
        let nobody_since = self.nobody_since();
        let nobody_serves = self.nobody.is_some_and(|(first, last)| last >= first + NOBODY_AFTER);
        Some(Clients { place, read_at, is_current, leads, nobody_since, nobody_serves })
    }

    fn led(&self, observed: &Observed) -> Option<Led> {
        let read_at = self.leading().map(|(_, sight)| sight.at).min()?;
        let mut asked = observed.sights.iter().filter(|(key, _)| key.kind.leads_clients());
        let is_current = asked.all(|(_, sight)| is_of_nothing(&sight.seen) || !matches!(sight.seen, Seen::Unknown(_)));
        let mut places = self.places();
        let first = places.next()?;
        let place = if places.all(|other| is_same(&first, &other)) { first } else { LedTo::Several };
        Some(Led { place, read_at, is_current })
    }

    /// The last sights of the bindings that lead clients.
    fn leading(&self) -> impl Iterator<Item = (Kind, &Sight)> {
        self.last.iter().filter(|(key, _)| key.kind.leads_clients()).map(|(key, sight)| (key.kind, sight))
    }

    fn places(&self) -> impl Iterator<Item = LedTo> {
        self.leading().map(|(_, sight)| place(&sight.seen))
    }

    /// Whether the holder leads, by the claims on record. Only a claim that was given up tells: a claim that stands may be
    /// that of a node that died.
    fn leads(&self, holder: &Holder) -> Option<bool> {
        self.given_up.contains(holder.instance.as_ref()?).then_some(false)
    }
}

fn instance(place: LedTo) -> Option<InstanceId> {
    match place {
        LedTo::Elsewhere(holder) => holder.instance,
        LedTo::Here | LedTo::Nowhere | LedTo::Several => None,
    }
}

/// A place, and the reads that showed it.
struct Led {
    place: LedTo,
    read_at: Moment,
    is_current: bool,
}

fn place(seen: &Seen) -> LedTo {
    match seen {
        Seen::Here { .. } => LedTo::Here,
        Seen::Elsewhere(holder) if !holder.blackhole => LedTo::Elsewhere(holder.clone()),
        Seen::Elsewhere(_) | Seen::Absent | Seen::Unknown(_) => LedTo::Nowhere,
    }
}

/// Whether the config names something that EC2 does not have. It leads nobody anywhere, and is no failed read.
fn is_of_nothing(seen: &Seen) -> bool {
    matches!(seen, Seen::Unknown(WhyUnseen::NoSuchResource(_) | WhyUnseen::Unresolved(_)))
}

/// Two ENIs of one instance are one place.
fn is_same(one: &LedTo, other: &LedTo) -> bool {
    match (one, other) {
        (LedTo::Elsewhere(one), LedTo::Elsewhere(other)) => {
            one.name == other.name || (one.instance.is_some() && one.instance == other.instance)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
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
            let copies =
                Copies { terms: named(on_the_other), withdrawn: named(given_up), at: S(s), ..Copies::default() };
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
}
