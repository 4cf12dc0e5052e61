//! Compares two documents, apart from the times at which things were read. The loop asks this in each turn, so nothing is
//! copied here. Each type is taken apart by the names of all its fields, so that a new field must be given a place.

use crate::status::{AnswersStatus, BindingStatus, ClientsStatus, LastSeen, SourceStatus, Status, VipStatus};

/// Whether two documents of this process are equal, apart from the times at which they were made and at which each
/// source was read.
pub fn says_the_same(told: &Status, status: &Status) -> bool {
    (&told.instance, &told.region) == (&status.instance, &status.region)
        && told.problems == status.problems
        && is_same(&told.sources, &status.sources, is_same_source)
        && is_same(&told.vips, &status.vips, is_same_vip)
}

fn is_same<T>(told: &[T], new: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    told.len() == new.len() && told.iter().zip(new).all(|(told, new)| same(told, new))
}

fn is_same_source(told: &SourceStatus, new: &SourceStatus) -> bool {
    let SourceStatus { source, part, last_success_ms, error, class, failures } = told;
    (source, part, error, class, failures) == (&new.source, &new.part, &new.error, &new.class, &new.failures)
        && last_success_ms.is_some() == new.last_success_ms.is_some()
}

fn is_same_vip(told: &VipStatus, new: &VipStatus) -> bool {
    let VipStatus {
        delegate_ip,
        desired,
        claim,
        in_sync,
        holds,
        clients,
        answers,
        bindings,
        conditions,
        connections,
        obstacles,
        other_claims,
    } = told;
    (delegate_ip, in_sync, holds) == (&new.delegate_ip, &new.in_sync, &new.holds)
        && (desired, claim, conditions) == (&new.desired, &new.claim, &new.conditions)
        && (connections, obstacles, other_claims) == (&new.connections, &new.obstacles, &new.other_claims)
        && are_both(clients.as_ref(), new.clients.as_ref(), is_same_place)
        && are_both(answers.as_ref(), new.answers.as_ref(), is_same_answer)
        && is_same(bindings, &new.bindings, is_same_binding)
}

/// Whether both are missing, or both are there and equal in this sense.
fn are_both<T>(told: Option<&T>, new: Option<&T>, same: impl Fn(&T, &T) -> bool) -> bool {
    match (told, new) {
        (Some(told), Some(new)) => same(told, new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_same_place(told: &ClientsStatus, new: &ClientsStatus) -> bool {
    let ClientsStatus { at, place, instance, leads, read_ms: _, current, nobody_since_ms, nobody_serves } = told;
    (at, place, instance, leads) == (&new.at, &new.place, &new.instance, &new.leads)
        && (current, nobody_serves) == (&new.current, &new.nobody_serves)
        && nobody_since_ms.is_some() == new.nobody_since_ms.is_some()
}

fn is_same_answer(told: &AnswersStatus, new: &AnswersStatus) -> bool {
    let AnswersStatus { by, inside, since_ms: _, answered_ms } = told;
    (by, inside) == (&new.by, &new.inside) && answered_ms.is_some() == new.answered_ms.is_some()
}

fn is_same_binding(told: &BindingStatus, new: &BindingStatus) -> bool {
    let BindingStatus {
        kind,
        target,
        state,
        detail,
        since_ms,
        read_ms: _,
        last_seen,
        drift,
        blocked_by,
        action,
        last_error,
        next_try_ms,
        read_error_class,
        unseen,
    } = told;
    (kind, target, state, detail, since_ms) == (&new.kind, &new.target, &new.state, &new.detail, &new.since_ms)
        && (drift, blocked_by, action, last_error) == (&new.drift, &new.blocked_by, &new.action, &new.last_error)
        && (next_try_ms, read_error_class, unseen) == (&new.next_try_ms, &new.read_error_class, &new.unseen)
        && are_both(last_seen.as_ref(), new.last_seen.as_ref(), is_same_sight)
}

fn is_same_sight(told: &LastSeen, new: &LastSeen) -> bool {
    let LastSeen { place, read_ms: _ } = told;
    *place == new.place
}
