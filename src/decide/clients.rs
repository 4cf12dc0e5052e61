//! Tells where EC2 leads the clients of a VIP, as far as this node has read it, and whether they reach nobody for longer
//! than a failover takes. Only reads count here, and no expectation of this node's own changes.

use std::collections::BTreeMap;

use crate::binding::{BindingKey, Vip};
use crate::decide::claim::{self, Standing};
use crate::decide::timing::NOBODY_AFTER;
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
    /// The first and the last read that showed that nobody serves, without one between that showed otherwise.
    nobody: Option<(Moment, Moment)>,
}

impl ClientReads {
    /// Takes a look into account.
    pub fn learn(&mut self, vip: &Vip, observed: &Observed, standing: &Standing) {
        self.last.retain(|key, _| vip.bindings.contains_key(key));
        for (key, sight) in &observed.sights {
            if is_of_nothing(&sight.seen) {
                self.last.remove(key);
            } else if !matches!(sight.seen, Seen::Unknown(_)) {
                self.last.insert(key.clone(), sight.clone());
            }
        }
        let Some(led) = self.led(observed).filter(|led| led.is_current) else { return };
        let recorded = matches!(&observed.claims, Claims::Read { terms, implausible, elsewhere, .. }
            if !terms.is_empty() || !implausible.is_empty() || elsewhere.values().any(|copies| !copies.terms.is_empty()));
        self.ever_led |= recorded || led.place != LedTo::Nowhere;
        let nobody = match &led.place {
            LedTo::Nowhere => self.ever_led,
            // Where the routes of a former leader stay until a successor replaces them, they lead to nobody.
            LedTo::Elsewhere(holder) => leads(holder, &observed.claims) == Some(false),
            LedTo::Here => *standing == Standing::Standby,
            LedTo::Several => false,
        };
        let first = self.nobody.map_or(led.read_at, |(first, _)| first);
        self.nobody = nobody.then_some((first, led.read_at));
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
            LedTo::Elsewhere(holder) => leads(holder, &observed.claims),
            LedTo::Nowhere | LedTo::Several => None,
        };
        let nobody_since = self.nobody.map(|(first, _)| first);
        let nobody_serves = self.nobody.is_some_and(|(first, last)| last >= first + NOBODY_AFTER);
        Some(Clients { place, read_at, is_current, leads, nobody_since, nobody_serves })
    }

    fn led(&self, observed: &Observed) -> Option<Led> {
        let last: Vec<_> =
            self.last.iter().filter(|(key, _)| key.kind.leads_clients()).map(|(_, sight)| sight).collect();
        let read_at = last.iter().map(|sight| sight.at).min()?;
        let mut asked = observed.sights.iter().filter(|(key, _)| key.kind.leads_clients());
        let is_current = asked.all(|(_, sight)| is_of_nothing(&sight.seen) || !matches!(sight.seen, Seen::Unknown(_)));
        let mut places = last.iter().map(|sight| place(&sight.seen));
        let first = places.next()?;
        let place = if places.all(|other| is_same(&first, &other)) { first } else { LedTo::Several };
        Some(Led { place, read_at, is_current })
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

/// Whether the holder leads, by the claims on record. Only a claim that was given up tells: a claim that stands may be
/// that of a node that died.
fn leads(holder: &Holder, claims: &Claims) -> Option<bool> {
    claim::has_given_up(claims, holder.instance.as_ref()?).then_some(false)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::binding::{Account, Anchor, Binding, ClaimMode, Handover, Kind, OnRelease};
    use crate::ids::Term;
    use crate::observe::seen::{Copies, Serving, Witness};

    const S: fn(u64) -> Duration = Duration::from_secs;

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
            reads.learn(&vip(&["rtb-0"]), &observed, &Standing::Standby);
            clients = reads.clients(&observed, &Standing::Standby);
        }
        clients.unwrap()
    }

    #[test]
    fn nobody_serves_once_two_looks_show_it_for_longer_than_a_failover_takes() {
        let (led, gone): (&[_], &[_]) = (&[("i-b", 7)], &[("i-b", 0)]);
        let late = NOBODY_AFTER.as_secs();
        for (looks, nobody) in [
            // An ordinary failover is over before.
            (vec![(at("i-b"), led, 1), (Seen::Absent, gone, 10), (at("i-c"), gone, 25)], false),
            (vec![(Seen::Absent, gone, 10)], false),
            (vec![(Seen::Absent, gone, 10), (Seen::Absent, gone, 9 + late)], false),
            (vec![(Seen::Absent, gone, 10), (Seen::Absent, gone, 10 + late)], true),
            // The routes of a former leader lead to nobody.
            (vec![(at("i-b"), gone, 10), (at("i-b"), gone, 10 + late)], true),
            (vec![(at("i-b"), led, 10), (at("i-b"), led, 10 + late)], false),
            (vec![(Seen::Here { association: None }, gone, 10), (Seen::Here { association: None }, gone, 90)], true),
            // A look between that shows a leader begins the time anew.
            (vec![(Seen::Absent, gone, 10), (at("i-c"), led, 30), (Seen::Absent, gone, 10 + late)], false),
            // No node has led yet.
            (vec![(Seen::Absent, &[], 10), (Seen::Absent, &[], 900)], false),
            // This daemon saw a leader before, although no claim is on record.
            (vec![(at("i-b"), &[], 1), (Seen::Absent, &[], 10), (Seen::Absent, &[], 90)], true),
            // A read that fails says nothing.
            (vec![(Seen::Absent, gone, 10), (unread(), gone, 90)], false),
        ] {
            assert_eq!(after(&looks).nobody_serves, nobody, "{looks:?}");
        }
    }

    #[test]
    fn a_claim_counts_on_every_resource_that_carries_claims() {
        let own = || vip(&["rtb-0"]);
        let copied = |on_anchor: &[(&str, u64)], on_the_other: &[(&str, u64)], given_up: &[(&str, u64)], s| {
            let named = |claims: &[(&str, u64)]| -> BTreeMap<_, _> {
                claims.iter().map(|(node, term)| (node.parse().unwrap(), Term(*term))).collect()
            };
            let mut observed = seen(&[at("i-b")], on_anchor, s);
            let Claims::Read { elsewhere, .. } = &mut observed.claims else { unreachable!() };
            let (terms, withdrawn) = (named(on_the_other), named(given_up));
            let copies = Copies { terms, withdrawn, edited: BTreeMap::new(), at: S(s) };
            elsewhere.insert(Anchor::RouteTable(Account::Own, "rtb-9".parse().unwrap()), copies);
            observed
        };
        for (on_anchor, on_the_other, given_up, leads) in [
            // The anchor has changed since, and the holder's withdrawal stands where its claim stood.
            (&[][..], &[("i-b", 0)][..], &[("i-b", 7)][..], Some(false)),
            (&[("i-b", 7)], &[("i-b", 0)], &[("i-b", 7)], Some(false)),
            (&[("i-b", 0)], &[("i-b", 9)], &[], None),
        ] {
            let mut reads = ClientReads::default();
            let looks = [10, 10 + NOBODY_AFTER.as_secs()].map(|s| copied(on_anchor, on_the_other, given_up, s));
            for look in &looks {
                reads.learn(&own(), look, &Standing::Standby);
            }
            let clients = reads.clients(&looks[1], &Standing::Standby).unwrap();
            assert_eq!((clients.leads, clients.nobody_serves), (leads, leads.is_some()), "{on_anchor:?}");
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
        reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Standby);
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
            reads.learn(&vip(&["rtb-0", "rtb-1"]), &observed, &Standing::Leader);
            assert_eq!(reads.clients(&observed, &Standing::Leader).unwrap().place, place);
        }
    }
}
