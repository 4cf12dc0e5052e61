//! When EC2 is to be looked at next, and why. One function answers both "is a look due" and "when to wake".

use std::collections::BTreeSet;

use crate::decide::retry::FollowUp;
use crate::decide::timing::{AFTER_WRITE, LOOK_DESPITE_WRITES};
use crate::observe::seen::Moment;

/// The looks that somebody asked for.
#[derive(Debug, Default)]
pub struct Schedule {
    /// The next look of the regular interval.
    regular: Moment,
    /// Looks that own writes asked for.
    after_writes: BTreeSet<Moment>,
    /// The moment by which a claim's first look comes, even if its writes are still under way; `None` once that look
    /// began.
    first_of_claim: Option<Moment>,
    /// Whether a look is due as soon as no write is under way.
    when_idle: bool,
}

/// The circumstances outside the schedule that the next look depends on.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Whether a change is on its way to EC2.
    pub writing: bool,
    /// Whether a look is under way.
    pub reading: bool,
    /// When a second look would change a plan.
    pub second_look: Option<Moment>,
    /// When a new look overtakes the look under way, for a claim that waits for EC2 to answer again.
    pub overtakes: Option<Moment>,
}

impl Schedule {
    /// When the next look is due; `None` while only an event can bring it nearer. A look is due once this moment is not
    /// later than now.
    pub fn next_look(&self, seen: &Circumstances) -> Option<Moment> {
        if seen.reading {
            return seen.overtakes;
        }
        if self.when_idle && !seen.writing {
            return Some(Moment::ZERO);
        }
        let asked = self.after_writes.first().copied().into_iter().chain(self.first_of_claim).chain(seen.second_look);
        Some(asked.fold(self.regular, Moment::min))
    }

    /// Notes that a look begins. The next regular look comes at `regular`, unless the end of the look sets another
    /// moment.
    pub fn begin(&mut self, now: Moment, seen: &Circumstances, regular: Moment) {
        self.when_idle &= seen.writing;
        self.after_writes.retain(|at| *at > now);
        self.first_of_claim = None;
        self.regular = regular;
    }

    /// Sets the moment of the next regular look.
    pub fn regularly_at(&mut self, at: Moment) {
        self.regular = at;
    }

    /// Asks for a look as soon as no write is under way.
    pub fn once_idle(&mut self) {
        self.when_idle = true;
    }

    /// Asks for the first look after a claim began or ended. The look belongs after the takes of the claim, because the
    /// takes are about to change the things that the look shows.
    pub fn after_takes(&mut self, now: Moment) {
        self.when_idle = true;
        self.first_of_claim = Some(now + LOOK_DESPITE_WRITES);
    }

    /// Asks for the looks after a change that EC2 accepted. They replace the looks after earlier changes, because they
    /// show the earlier changes as well.
    pub fn confirm(&mut self, now: Moment) {
        self.after_writes = AFTER_WRITE.iter().map(|delay| now + *delay).collect();
    }

    /// Asks for the look that the end of a change calls for.
    pub fn follow_up(&mut self, wanted: FollowUp, now: Moment) {
        match wanted {
            FollowUp::Confirm => self.confirm(now),
            FollowUp::LookNow => self.once_idle(),
            FollowUp::LookSoon => self.soon(now),
            FollowUp::Nothing => {}
        }
    }

    /// Asks for a look a moment after a change whose answer was lost, or that EC2 refused because the world had
    /// changed.
    pub fn soon(&mut self, now: Moment) {
        self.after_writes.insert(now + AFTER_WRITE[0]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const AT_REST: Circumstances = Circumstances { writing: false, reading: false, second_look: None, overtakes: None };

    #[test]
    fn the_earliest_look_that_anybody_asked_for_is_next() {
        let mut schedule = Schedule::default();
        schedule.begin(S(0), &AT_REST, S(20));
        assert_eq!(schedule.next_look(&AT_REST), Some(S(20)));
        schedule.confirm(S(3));
        assert_eq!(schedule.next_look(&AT_REST), Some(S(4)));
        let second = Circumstances { second_look: Some(S(2)), ..AT_REST };
        assert_eq!(schedule.next_look(&second), Some(S(2)));
        schedule.begin(S(5), &AT_REST, S(25));
        assert_eq!(schedule.next_look(&AT_REST), Some(S(7)), "the looks after a write that are still to come");
    }

    #[test]
    fn a_look_that_waits_for_writes_comes_when_they_are_over_or_take_too_long() {
        let mut schedule = Schedule::default();
        schedule.begin(S(0), &AT_REST, S(20));
        schedule.after_takes(S(1));
        let writing = Circumstances { writing: true, ..AT_REST };
        assert_eq!(schedule.next_look(&writing), Some(S(2)));
        assert_eq!(schedule.next_look(&AT_REST), Some(S(0)), "at once");
        schedule.begin(S(2), &writing, S(22));
        assert_eq!(schedule.next_look(&AT_REST), Some(S(0)), "what is accepted afterwards wants to be seen");
    }

    #[test]
    fn a_look_that_is_under_way_is_followed_early_only_where_a_claim_waits() {
        let schedule = Schedule::default();
        let reading = Circumstances { reading: true, ..AT_REST };
        assert_eq!(schedule.next_look(&reading), None);
        assert_eq!(schedule.next_look(&Circumstances { overtakes: Some(S(9)), ..reading }), Some(S(9)));
    }
}
