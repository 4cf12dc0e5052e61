//! Tells an EC2 that refuses a change although nothing moves from a world that moved. One refusal alone looks alike in
//! both cases: EC2 says that the world is not as it was seen.

use crate::action::Action;
use crate::decide::timing::{REFUSED_FOR, UNMOVED_FROM};
use crate::observe::seen::{Moment, Seen, Sight, WhyUnseen};

/// One refusal of a change. `sight` is the last look at the change's binding when the refusal came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub action: Action,
    /// EC2's error code.
    pub code: Option<String>,
    pub sight: Sight,
}

/// The refusals of one change in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    refusal: Refusal,
    since: Moment,
    /// When the refusal came that a later look is compared with.
    compared_at: Moment,
    /// How many looks in a row showed the binding as it was when EC2 refused.
    unmoved: u32,
}

impl Refusals {
    /// The refusals, once this one has come too.
    #[must_use]
    pub fn and(before: Option<Self>, refusal: Refusal, now: Moment) -> Self {
        let fresh = |refusal| Self { refusal, since: now, compared_at: now, unmoved: 0 };
        let Some(before) = before else { return fresh(refusal) };
        let is_other = (&before.refusal.action, &before.refusal.code) != (&refusal.action, &refusal.code);
        // A look that failed shows nothing, and a look that began before the refusal shows nothing of the time since.
        let shows_since = refusal.sight.at >= before.compared_at && tells(&refusal.sight.seen);
        match (is_other, shows_since) {
            (true, _) => fresh(refusal),
            (false, false) => before,
            (false, true) if refusal.sight.seen != before.refusal.sight.seen => fresh(refusal),
            (false, true) => Self { compared_at: now, unmoved: before.unmoved + 1, ..before },
        }
    }

    /// Whether EC2 refuses although nothing moves: nobody else has a part in it, and looking again does not help. Reads
    /// lag behind, so the refusals must have lasted for some time.
    #[must_use]
    pub fn are_final(&self, now: Moment) -> bool {
        self.unmoved >= UNMOVED_FROM && now >= self.since + REFUSED_FOR
    }
}

/// Whether a look showed how the binding stands. A thing that EC2 does not show is an answer as well.
fn tells(seen: &Seen) -> bool {
    match seen {
        Seen::Here { .. } | Seen::Elsewhere(_) | Seen::Absent | Seen::Unknown(WhyUnseen::NoSuchResource(_)) => true,
        Seen::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::seen::Holder;

    fn refusal(code: &str, seen: Seen, looked_s: u64) -> Refusal {
        Refusal {
            action: Action::DisableSourceDestCheck { eni: "eni-0a".parse().unwrap() },
            code: Some(code.to_owned()),
            sight: Sight { seen, at: Duration::from_secs(looked_s) },
        }
    }

    /// Whether these refusals are final in the end. Each one comes with what was seen, at the second of the look and at
    /// its own second.
    fn are_final(refusals: Vec<(&str, Seen, u64, u64)>) -> bool {
        let mut all = None;
        let mut now = Duration::ZERO;
        for (code, seen, looked_s, at_s) in refusals {
            now = Duration::from_secs(at_s);
            all = Some(Refusals::and(all, refusal(code, seen, looked_s), now));
        }
        all.is_some_and(|all| all.are_final(now))
    }

    fn elsewhere(name: &str) -> Seen {
        Seen::Elsewhere(Holder { name: name.to_owned(), instance: None, blackhole: false })
    }

    #[test]
    fn refusals_are_final_where_looks_between_them_show_that_nothing_moves() {
        let code = "Resource.AlreadyAssociated";
        let gone = || Seen::Unknown(WhyUnseen::NoSuchResource("rtb-1".to_owned()));
        let unread = || Seen::Unknown(WhyUnseen::NotRead);
        let each_8_s =
            |seen: &dyn Fn(u64) -> Seen| (0..4).map(|n| (code, seen(n), 8 * n, 8 * n + 1)).collect::<Vec<_>>();
        assert!(are_final(each_8_s(&|_| Seen::Absent)));
        assert!(are_final(each_8_s(&|_| elsewhere("eni-0b"))));
        assert!(are_final(each_8_s(&|_| gone())), "what does not exist does not come by itself");
        assert!(!are_final(each_8_s(&|n| elsewhere(&format!("eni-{n}")))), "somebody moves it");
        assert!(!are_final(each_8_s(&|_| unread())), "nobody knows");
        let in_two_seconds = (0..8).map(|n| (code, Seen::Absent, n / 4, n / 4)).collect();
        assert!(!are_final(in_two_seconds), "reads lag by more");
        let without_a_look = (0..4).map(|n| (code, Seen::Absent, 0, 8 * n + 1)).collect();
        assert!(!are_final(without_a_look));
        let with_one_look = vec![(code, Seen::Absent, 0, 1), (code, Seen::Absent, 8, 9), (code, Seen::Absent, 8, 17)];
        assert!(!are_final(with_one_look), "one look is compared with one refusal");
        let with_failed_looks = vec![
            (code, Seen::Absent, 0, 1),
            (code, unread(), 8, 9),
            (code, Seen::Absent, 16, 17),
            (code, Seen::Absent, 24, 25),
        ];
        assert!(are_final(with_failed_looks), "a look that failed does not undo the others");
        let mut another = each_8_s(&|_| Seen::Absent);
        another[3].0 = "IncorrectInstanceState";
        assert!(!are_final(another), "another refusal is a change");
    }
}
