//! Where the clients of a VIP are led, in words. A node knows only what it has read: the words never claim more.

use super::layout::{clean, since};
use super::{AnswersStatus, ClientsAt, ClientsStatus, VipStatus};

/// The age above which a read is too old to count as the present, in milliseconds. The intervals of a leader are shorter by
/// default, or hardly longer; those of a standby are not.
pub const OLD_MS: u64 = 10_000;

/// The line behind `clients` on the page of this VIP; `None` before the first look.
#[must_use]
pub fn in_words(vip: &VipStatus, now_ms: u64) -> Option<String> {
    let clients = vip.clients.as_ref()?;
    let at = clients.at.known().unwrap_or(ClientsAt::Unknown);
    let Some(read_ms) = clients.read_ms.filter(|_| at != ClientsAt::Unknown) else {
        return Some("not known: no read has shown it since the daemon started".to_owned());
    };
    let place = where_to(clients, at, vip, now_ms);
    let read = since(read_ms, now_ms);
    Some(match (at, clients.current) {
        (_, false) => format!("last known {place} {read} ago (EC2 is not read)"),
        (ClientsAt::Here, true) if now_ms.saturating_sub(read_ms) <= OLD_MS => place,
        (_, true) => format!("{place} (last read {read} ago)"),
    })
}

/// The line behind `answers` on the page of this VIP; `None` without a probe.
#[must_use]
pub fn answered_in_words(vip: &VipStatus, now_ms: u64) -> Option<String> {
    let AnswersStatus { by, inside, since_ms, answered_ms } = vip.answers.as_ref()?;
    Some(match (by, answered_ms) {
        (Some(_), _) if *inside => "by this node, asked from itself: no packet left it".to_owned(),
        (Some(by), Some(at)) => format!("by {by}, {} ago (for {})", since(*at, now_ms), since(*since_ms, now_ms)),
        (Some(by), None) => format!("by {by}"),
        (None, _) => format!("nobody answers, for {}", since(*since_ms, now_ms)),
    })
}

/// The doubt about a node that gave up its claim, where EC2 still leads the clients to that node. A route that stayed does not
/// show whether its node took it again, and a node that leads again may not be able to record that.
#[must_use]
pub(super) fn doubt_of_gone(vip: &VipStatus) -> Option<String> {
    let clients = vip.clients.as_ref().filter(|clients| clients.leads == Some(false))?;
    (clients.at == ClientsAt::Elsewhere).then(|| {
        let name = name(clients);
        format!(
            "{name} gave up its claim; if it leads again and cannot record that, its own page says CLAIM NOT RECORDED"
        )
    })
}

fn name(clients: &ClientsStatus) -> String {
    match (&clients.instance, &clients.place) {
        (Some(instance), _) => instance.to_string(),
        (None, Some(place)) => clean(place),
        (None, None) => "another place".to_owned(),
    }
}

fn where_to(clients: &ClientsStatus, at: ClientsAt, vip: &VipStatus, now_ms: u64) -> String {
    let name = name(clients);
    match (at, clients.leads) {
        (ClientsAt::Here, _) if !clients.current => "at this node".to_owned(),
        (ClientsAt::Here, Some(false)) => "at this node, which does not lead".to_owned(),
        (ClientsAt::Here, _) if vip.in_sync => "at this node, in sync".to_owned(),
        (ClientsAt::Here, _) => "at this node, not in sync".to_owned(),
        (ClientsAt::Elsewhere, Some(false)) => format!("at {name}, which gave up its claim"),
        (ClientsAt::Elsewhere, _) => format!("at {name}"),
        (ClientsAt::Several, _) => "at several places: see the table".to_owned(),
        (ClientsAt::Nowhere, _) => match clients.nobody_since_ms {
            Some(then) => format!("at no node for {}", since(then, now_ms)),
            None => "at no node, and no node is known to have led".to_owned(),
        },
        (ClientsAt::Unknown, _) => "not known".to_owned(),
    }
}
