//! EC2's request throttling: one token bucket per action, shared by all callers of the account.
//! Sizes after the EC2 developer guide, "Request throttling for the Amazon EC2 API".

use std::{collections::BTreeMap, time::Duration};

use crate::Operation;

#[derive(Clone, Copy)]
struct Size {
    most: f64,
    per_second: f64,
}

struct Bucket {
    tokens: f64,
    filled_at: Duration,
}

/// The buckets, full at first.
#[derive(Default)]
pub struct Buckets(BTreeMap<(&'static str, bool), Bucket>);

impl Buckets {
    /// Takes a token for the call, if there is one. A refused call takes none.
    pub fn take(&mut self, now: Duration, operation: &Operation) -> bool {
        let unbounded = is_unbounded(operation);
        let Some(size) = size(operation, unbounded) else {
            return true;
        };
        let bucket =
            self.0.entry((operation.name(), unbounded)).or_insert(Bucket { tokens: size.most, filled_at: now });
        let refill = now.saturating_sub(bucket.filled_at).as_secs_f64() * size.per_second;
        bucket.tokens = (bucket.tokens + refill).min(size.most);
        bucket.filled_at = bucket.filled_at.max(now);
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// Whether the call asks for everything at once, which costs more for some actions. Ids alone do not count as a bound:
/// the guide speaks of filters and pages only.
fn is_unbounded(operation: &Operation) -> bool {
    match operation {
        Operation::DescribeNetworkInterfaces(call)
        | Operation::DescribeInstances(call)
        | Operation::DescribeSecurityGroups(call) => call.filters.is_empty() && call.max_results.is_none(),
        _ => false,
    }
}

fn size(operation: &Operation, unbounded: bool) -> Option<Size> {
    let (most, per_second) = match operation {
        _ if unbounded => (50.0, 10.0),
        Operation::AssumeRole(_) | Operation::GetCallerIdentity => return None,
        Operation::ModifyNetworkInterfaceAttribute(_)
        | Operation::AssignPrivateIpAddresses(_)
        | Operation::UnassignPrivateIpAddresses(_)
        | Operation::AssignIpv6Addresses(_) => (100.0, 5.0),
        Operation::CreateTags(_) | Operation::DeleteTags(_) => (100.0, 10.0),
        _ if operation.is_write() => (50.0, 5.0),
        _ => (100.0, 20.0),
    };
    Some(Size { most, per_second })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Describe, RouteChange};

    fn taken(buckets: &mut Buckets, now: Duration, operation: &Operation) -> usize {
        (0..1000).take_while(|_| buckets.take(now, operation)).count()
    }

    #[test]
    fn a_bucket_empties_at_once_and_refills_continuously() {
        let mut buckets = Buckets::default();
        let replace = Operation::ReplaceRoute(RouteChange::default());
        assert_eq!(taken(&mut buckets, Duration::ZERO, &replace), 50);
        assert_eq!(taken(&mut buckets, Duration::from_millis(100), &replace), 0);
        assert_eq!(taken(&mut buckets, Duration::from_millis(200), &replace), 1);
        assert_eq!(taken(&mut buckets, Duration::from_secs(60), &replace), 50);
    }

    #[test]
    fn every_action_has_its_own_bucket_and_a_smaller_one_for_asking_everything() {
        let mut buckets = Buckets::default();
        let everything = Operation::DescribeNetworkInterfaces(Describe::default());
        let filtered = Operation::DescribeNetworkInterfaces(Describe::default().filter("vpc-id", &["vpc-1"]));
        let tables = Operation::DescribeRouteTables(Describe::default());
        assert_eq!(taken(&mut buckets, Duration::ZERO, &everything), 50);
        assert_eq!(taken(&mut buckets, Duration::ZERO, &filtered), 100);
        assert_eq!(taken(&mut buckets, Duration::ZERO, &tables), 100);
        assert_eq!(taken(&mut buckets, Duration::from_secs(1), &everything), 10);
        assert_eq!(taken(&mut buckets, Duration::from_secs(1), &filtered), 20);
    }
}
