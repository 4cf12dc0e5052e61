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
mod tests;
