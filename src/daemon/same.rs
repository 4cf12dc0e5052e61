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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The values that are times of reads, and may differ between two documents that say the same.
    const TIMES: [&str; 8] = [
        "/written_ms",
        "/written_boot_ms",
        "/sources/0/last_success_ms",
        "/vips/0/clients/read_ms",
        "/vips/0/clients/nobody_since_ms",
        "/vips/0/answers/since_ms",
        "/vips/0/answers/answered_ms",
        "/vips/0/bindings/0/read_ms",
    ];

    /// The values that stay as they are for as long as a daemon runs, or that have a voice of their own.
    const OTHERS: [&str; 4] = ["/version", "/program", "/pid", "/started_ms"];

    fn document() -> Value {
        json!({
            "version": 1, "program": "0.1.0", "pid": 7, "written_ms": 1, "written_boot_ms": 1, "started_ms": 1,
            "instance": "i-0a", "region": "eu-west-1", "problems": [],
            "sources": [{"source": "addresses", "part": "role", "last_success_ms": 1, "error": "no", "class": "denied",
                         "failures": 2}],
            "vips": [{
                "delegate_ip": "20.0.0.5", "desired": {"role": "leader", "reason": "a hook", "since_ms": 1},
                "claim": {"id": "one", "term": 5, "started_ms": 5, "converged_ms": 6, "superseded_by": "i-0b"},
                "in_sync": true, "holds": true,
                "clients": {"at": "elsewhere", "place": "eni-0b", "instance": "i-0b", "leads": false, "read_ms": 1,
                            "current": true, "nobody_since_ms": 1, "nobody_serves": true},
                "answers": {"by": "i-0b", "inside": false, "since_ms": 1, "answered_ms": 1},
                "bindings": [{"kind": "route", "target": "rtb-1", "state": "unknown", "detail": "here", "since_ms": 1,
                              "read_ms": 1, "last_seen": {"place": "here", "read_ms": 1}, "drift": "gone",
                              "blocked_by": "rival", "action": "wait", "last_error": null, "next_try_ms": 4}],
                "conditions": [{"name": "InSync", "holds": true, "reason": "AllAgree", "message": "yes", "since_ms": 1}],
                "connections": {"reset": 1, "at_ms": 1, "left": null},
                "obstacles": [{"name": "eni_gone", "message": "it is gone"}],
                "other_claims": [{"node": "i-0b", "term": 9}]
            }]
        })
    }

    /// The places of all values in the document that are no lists and no tables.
    fn values(value: &Value, at: &str, all: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| values(value, &format!("{at}/{name}"), all));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(nth, value)| values(value, &format!("{at}/{nth}"), all));
            }
            _ => all.push(at.to_owned()),
        }
    }

    #[test]
    fn documents_differ_by_everything_but_the_times_of_reads() {
        let told: Status = serde_json::from_value(document()).unwrap();
        assert!(says_the_same(&told, &told.clone()));
        let mut all = Vec::new();
        values(&document(), "", &mut all);
        let mut compared = 0;
        for at in &all {
            let mut changed = document();
            let value = changed.pointer_mut(at).unwrap();
            *value = match &*value {
                Value::Bool(was) => json!(!was),
                Value::Number(was) => json!(was.as_u64().unwrap() + 1),
                Value::String(was) => json!(format!("{was}0")),
                _ => continue,
            };
            let is_time = TIMES.contains(&at.as_str()) || at.ends_with("last_seen/read_ms");
            // A kind is one of a closed set, so no document has another one.
            let Ok(status) = serde_json::from_value::<Status>(changed) else { continue };
            compared += 1;
            assert_eq!(says_the_same(&told, &status), is_time || OTHERS.contains(&at.as_str()), "{at}");
        }
        assert!(compared > 50, "{compared} of {} values", all.len());
    }

    #[test]
    fn a_part_that_comes_or_goes_is_news_also_where_it_is_a_time() {
        let told: Status = serde_json::from_value(document()).unwrap();
        for at in [
            "/sources/0/last_success_ms",
            "/vips/0/clients",
            "/vips/0/clients/nobody_since_ms",
            "/vips/0/answers",
            "/vips/0/answers/answered_ms",
            "/vips/0/bindings/0/last_seen",
            "/vips/0/holds",
        ] {
            let mut changed = document();
            *changed.pointer_mut(at).unwrap() = Value::Null;
            let status: Status = serde_json::from_value(changed).unwrap();
            assert!(!says_the_same(&told, &status) && !says_the_same(&status, &told), "{at}");
        }
        for at in ["/sources", "/vips", "/vips/0/bindings"] {
            let mut changed = document();
            *changed.pointer_mut(at).unwrap() = json!([]);
            let status: Status = serde_json::from_value(changed).unwrap();
            assert!(!says_the_same(&told, &status) && !says_the_same(&status, &told), "{at}");
        }
    }
}
