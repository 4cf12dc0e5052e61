//! The account's past, as far as stale reads may reach back.

use std::{collections::VecDeque, time::Duration};

use crate::Account;

/// How far back a stale read can look.
pub const REACH: Duration = Duration::from_secs(600);

/// States of the account, each with the moment from which it held.
pub struct History(VecDeque<(Duration, Account)>);

impl History {
    pub fn starting_with(account: Account) -> Self {
        Self([(Duration::ZERO, account)].into())
    }

    pub fn push(&mut self, now: Duration, account: Account) {
        self.0.push_back((now, account));
        let horizon = now.saturating_sub(REACH);
        // The second oldest must be past the horizon before the oldest can go: until then the oldest holds there.
        while self.0.get(1).is_some_and(|(since, _)| *since <= horizon) {
            self.0.pop_front();
        }
    }

    /// The state that held at a moment, or the oldest that is remembered.
    pub fn at(&self, moment: Duration) -> &Account {
        let later = self.0.partition_point(|(since, _)| *since <= moment);
        &self.0[later.saturating_sub(1)].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_vpcs(vpcs: usize) -> Account {
        let mut account = Account::new("us-east-1");
        for _ in 0..vpcs {
            account.add_vpc("10.0.0.0/16", None).unwrap();
        }
        account
    }

    #[test]
    fn a_state_holds_until_the_next_one() {
        let mut history = History::starting_with(with_vpcs(0));
        history.push(Duration::from_secs(1), with_vpcs(1));
        history.push(Duration::from_secs(3), with_vpcs(2));
        for (millis, vpcs) in [(0, 0), (999, 0), (1000, 1), (2999, 1), (3000, 2), (9000, 2)] {
            assert_eq!(*history.at(Duration::from_millis(millis)), with_vpcs(vpcs), "{millis} ms");
        }
    }

    #[test]
    fn what_is_out_of_reach_is_forgotten() {
        let mut history = History::starting_with(with_vpcs(0));
        for second in 1..=10 {
            history.push(REACH * second, with_vpcs(1));
        }
        assert_eq!(history.0.len(), 2);
    }
}
