//! Notices that this node's own changes undo one another: pointing one binding here takes another one away, and the
//! reverse. The cause does not matter. It may be two bindings at one place, or a program that lets only one of them be.
//! Without this, the loop would go on for ever, and EC2 may charge for each turn.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::memory::Memory;
use super::timing::{UNDONE_FROM, WENT_WITH};
use crate::binding::{BindingKey, Obstacle};
use crate::observe::seen::{Moment, Observed, Seen};

/// One binding of one VIP.
type Place = (IpAddr, BindingKey);

/// The own changes that pointed bindings here, of all VIPs together, since each VIP's last fresh start.
#[derive(Debug, Default)]
pub struct OwnWrites {
    pointed: BTreeMap<Place, Pointed>,
    /// How often in a row the first binding went after the second one had been pointed here.
    went_with: BTreeMap<(Place, Place), u32>,
}

/// A binding that was pointed here.
#[derive(Debug)]
struct Pointed {
    written_at: Moment,
    /// Whether a look has shown the binding here since, and none has shown it gone.
    is_here: bool,
}

impl OwnWrites {
    /// Notes that EC2 or the kernel accepted a change that points a binding here.
    pub fn pointed_here(&mut self, vip: IpAddr, key: &BindingKey, now: Moment) {
        self.pointed.insert((vip, key.clone()), Pointed { written_at: now, is_here: false });
    }

    /// Forgets a VIP, whose bindings have a fresh start.
    pub fn forget(&mut self, vip: IpAddr) {
        self.pointed.retain(|(of, _), _| *of != vip);
        self.went_with.retain(|((lost, _), (by, _)), _| *lost != vip && *by != vip);
    }

    /// Takes a look into account. `memory` tells whether the look is to be believed.
    pub fn look(&mut self, vip: IpAddr, observed: &Observed, memory: &Memory) {
        for (key, sight) in &observed.sights {
            let place = (vip, key.clone());
            let Some(pointed) = self.pointed.get_mut(&place) else { continue };
            let believed = memory.tracks.get(key).map_or(&sight.seen, |track| track.believe(sight));
            match (&sight.seen, believed) {
                (Seen::Here { .. }, _) if sight.at >= pointed.written_at => pointed.is_here = true,
                (_, Seen::Absent | Seen::Elsewhere(_)) if std::mem::take(&mut pointed.is_here) => {
                    let since = pointed.written_at;
                    self.went(&place, since, sight.at);
                }
                _ => {}
            }
        }
    }

    /// Counts the other bindings that were pointed here lately, and after this one. A loss without such a change has
    /// another cause, and the count begins anew.
    fn went(&mut self, lost: &Place, since: Moment, found_at: Moment) {
        let is_cause = |at: Moment| at > since && found_at <= at + WENT_WITH;
        let others = self.pointed.iter().filter(|(place, pointed)| *place != lost && is_cause(pointed.written_at));
        let others: Vec<_> = others.map(|(place, _)| place.clone()).collect();
        self.went_with.retain(|(of, by), _| of != lost || others.contains(by));
        for by in others {
            *self.went_with.entry((lost.clone(), by)).or_default() += 1;
        }
    }

    /// The obstacle for a binding that this node's own changes take away again and again.
    #[must_use]
    pub fn obstacle(&self, vip: IpAddr, key: &BindingKey) -> Option<Obstacle> {
        let place = (vip, key.clone());
        let often = |lost: &Place, by: &Place| {
            self.went_with.get(&(lost.clone(), by.clone())).is_some_and(|times| *times >= UNDONE_FROM)
        };
        let (_, (of, other)) =
            self.went_with.keys().find(|(lost, by)| *lost == place && often(lost, by) && often(by, lost))?;
        Some(Obstacle::OwnWrites { other: other.clone(), of: *of })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::binding::Kind;
    use crate::observe::seen::{Claims, Serving, Sight, Witness};

    struct Stage {
        writes: OwnWrites,
        now_s: u64,
    }

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(20, 0, 0, 50));

    fn key(name: &str) -> BindingKey {
        BindingKey::new(Kind::ElasticIp, name)
    }

    impl Stage {
        fn new() -> Self {
            Self { writes: OwnWrites::default(), now_s: 0 }
        }

        /// Ten seconds later, each name is pointed here.
        fn point(&mut self, names: &str) {
            self.now_s += 10;
            for (number, name) in names.split_whitespace().enumerate() {
                let at = Duration::from_secs(self.now_s) + Duration::from_millis(number as u64);
                self.writes.pointed_here(VIP, &key(name), at);
            }
        }

        /// Ten seconds later, a look shows `here` here and `gone` absent.
        fn see(&mut self, here: &str, gone: &str) {
            self.now_s += 10;
            let at = Duration::from_secs(self.now_s);
            let sight = |seen: Seen| move |name: &str| (key(name), Sight { seen: seen.clone(), at });
            let here = here.split_whitespace().map(sight(Seen::Here { association: None }));
            let sights = here.chain(gone.split_whitespace().map(sight(Seen::Absent))).collect();
            let observed = Observed {
                sights,
                local: BTreeMap::new(),
                claims: Claims::Unknown,
                witness: Witness::Silent,
                serving: Serving::default(),
                server_ms: None,
            };
            self.writes.look(VIP, &observed, &Memory::default());
        }

        fn other_of(&self, name: &str) -> Option<String> {
            match self.writes.obstacle(VIP, &key(name))? {
                Obstacle::OwnWrites { other, .. } => Some(other.target),
                Obstacle::SharedPlace { .. } => None,
            }
        }
    }

    #[test]
    fn two_bindings_that_go_with_each_others_return_are_told_after_three_rounds() {
        let mut stage = Stage::new();
        stage.point("a");
        stage.see("a", "b");
        for round in 1..=3 {
            stage.point("b");
            stage.see("b", "a");
            assert_eq!(stage.other_of("a"), None, "round {round}");
            stage.point("a");
            stage.see("a", "b");
        }
        assert_eq!((stage.other_of("a").as_deref(), stage.other_of("b").as_deref()), (Some("b"), Some("a")));
        stage.writes.forget(VIP);
        assert_eq!(stage.other_of("a"), None, "a fresh start");
    }

    #[test]
    fn each_vip_is_forgotten_alone() {
        let other = IpAddr::from([20, 0, 0, 51]);
        let rounds = |stage: &mut Stage, count| {
            for _ in 0..count {
                stage.point("b");
                stage.see("b", "a");
                stage.point("a");
                stage.see("a", "b");
            }
        };
        let mut stage = Stage::new();
        rounds(&mut stage, 4);
        stage.writes.forget(other);
        assert_eq!(stage.other_of("a").as_deref(), Some("b"));
        assert_eq!(stage.writes.pointed.len(), 2);

        // One VIP's fresh start breaks the pairs with another's bindings, on either side.
        let pair = |lost: IpAddr, by: IpAddr| ((lost, key("a")), (by, key("b")));
        for forgotten in [VIP, other] {
            stage.writes.went_with = [(pair(VIP, other), 3), (pair(other, VIP), 3), (pair(VIP, VIP), 3)].into();
            stage.writes.forget(forgotten);
            let left: Vec<_> = stage.writes.went_with.keys().cloned().collect();
            assert_eq!(left, if forgotten == VIP { vec![] } else { vec![pair(VIP, VIP)] });
        }
        assert!(stage.writes.pointed.is_empty());
    }

    #[test]
    fn a_loss_counts_once_and_only_of_what_a_look_showed_here_since_the_change() {
        let mut stage = Stage { now_s: 100, ..Stage::new() };
        for (name, other) in [("a", "b"), ("b", "a")].repeat(5) {
            stage.point(name);
            // A look that began a second before the change shows what was before it.
            stage.now_s -= 11;
            stage.see(name, "");
            stage.now_s += 1;
            stage.see("", other);
        }
        assert_eq!((stage.other_of("a"), stage.other_of("b")), (None, None), "never seen here since");

        let mut stage = Stage::new();
        stage.point("a");
        stage.see("a", "b");
        stage.point("b");
        stage.see("b", "a");
        stage.see("b", "a");
        stage.see("b", "a");
        stage.point("a");
        stage.see("a", "b");
        stage.see("a", "b");
        stage.see("a", "b");
        assert_eq!((stage.other_of("a"), stage.other_of("b")), (None, None), "each was lost once");
    }

    #[test]
    fn what_was_pointed_here_in_the_same_moment_took_nothing_away() {
        let mut stage = Stage::new();
        for _ in 0..9 {
            stage.now_s += 10;
            for name in ["a", "b"] {
                stage.writes.pointed_here(VIP, &key(name), Duration::from_secs(stage.now_s));
            }
            stage.see("a b", "");
            stage.see("", "a b");
        }
        assert_eq!((stage.other_of("a"), stage.other_of("b")), (None, None));
    }

    #[test]
    fn what_somebody_else_removes_is_no_own_doing() {
        let mut stage = Stage::new();
        for names in ["a b", "b a", "a b", "a b", "b a", "b a", "a b", "b a"] {
            stage.point(names);
            stage.see("a b", "");
            stage.see("", "a b");
        }
        assert_eq!((stage.other_of("a"), stage.other_of("b")), (None, None), "both at once");
        for _ in 0..9 {
            stage.point("a");
            stage.see("a", "");
            stage.see("", "a");
        }
        assert_eq!(stage.other_of("a"), None, "one alone");
        for _ in 0..9 {
            stage.point("a");
            stage.see("a b", "");
            stage.now_s += 60;
            stage.see("a", "b");
            stage.point("b");
            stage.see("a b", "");
            stage.now_s += 60;
            stage.see("b", "a");
        }
        assert_eq!((stage.other_of("a"), stage.other_of("b")), (None, None), "long after each return");
    }

    #[test]
    fn one_that_goes_with_the_others_return_while_the_other_stays_is_not_told() {
        let mut stage = Stage::new();
        stage.point("a");
        stage.see("a", "");
        for _ in 0..9 {
            stage.point("b");
            stage.see("a b", "");
            stage.see("a", "b");
        }
        assert_eq!((stage.other_of("a"), stage.other_of("b")), (None, None));
    }
}
