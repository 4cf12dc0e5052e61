//! Where each binding and the clients of a VIP are, as the document tells it.

use crate::binding::{Binding, BindingKey};
use crate::decide::clients::LedTo;
use crate::decide::plan::{Verdict, Why};
use crate::observe::seen::{Now, Seen};
use crate::status::{ClientsAt, ClientsStatus, LastSeen};

use super::vip::VipLoop;

impl VipLoop {
    pub(super) fn clients_status(&self, now: Now) -> Option<ClientsStatus> {
        self.plan()?;
        let Some(clients) = self.clients() else {
            return Some(ClientsStatus::unknown());
        };
        let (at, holder) = match &clients.place {
            LedTo::Here => (ClientsAt::Here, None),
            LedTo::Elsewhere(holder) => (ClientsAt::Elsewhere, Some(holder)),
            LedTo::Nowhere => (ClientsAt::Nowhere, None),
            LedTo::Several => (ClientsAt::Several, None),
        };
        Some(ClientsStatus {
            at: at.into(),
            place: holder.map(|holder| holder.name.clone()),
            instance: holder.and_then(|holder| holder.instance.clone()),
            leads: clients.leads,
            read_ms: Some(now.wall_ms_before(clients.read_at)),
            current: clients.is_current,
            nobody_since_ms: clients.nobody_since.map(|at| now.wall_ms_before(at)),
            nobody_serves: clients.nobody_serves,
        })
    }

    /// When the read began that shows this binding, and, where no read shows it, the place that was read last.
    pub(super) fn reads_of(&self, key: &BindingKey, now: Now) -> (Option<u64>, Option<LastSeen>) {
        let (binding, sight, last) = self.sights(key);
        match sight {
            Some(sight) if !matches!(sight.seen, Seen::Unknown(_)) => (Some(now.wall_ms_before(sight.at)), None),
            _ => {
                let last = last
                    .map(|last| LastSeen { place: place(&last.seen, binding), read_ms: now.wall_ms_before(last.at) });
                (None, last)
            }
        }
    }
}

/// The phrase about a binding's state. A reader need not know the ids of this node's ENIs.
pub(super) fn detail(key: &BindingKey, verdict: &Verdict) -> String {
    match &verdict.why {
        Why::PointsHere { place, .. } if key.kind.leads_clients() => at_this_node(place),
        why => why.to_string(),
    }
}

fn at_this_node(place: &str) -> String {
    format!("at this node ({place})")
}

fn place(seen: &Seen, binding: Option<&Binding>) -> String {
    match (seen, binding) {
        (Seen::Elsewhere(holder), _) => format!("at {holder}"),
        (Seen::Absent | Seen::Unknown(_), _) => "nowhere".to_owned(),
        (Seen::Here { .. }, Some(Binding::ElasticIp { eni, private_ip, .. })) => {
            at_this_node(&format!("{eni} {private_ip}"))
        }
        (Seen::Here { .. }, Some(Binding::Route { eni, .. } | Binding::SecondaryIp { eni, .. })) => {
            at_this_node(eni.as_str())
        }
        (Seen::Here { .. }, Some(Binding::LocalAddress { interface, .. })) => format!("on {interface}"),
        (Seen::Here { .. }, Some(Binding::SourceDestCheck { eni })) => format!("off on {eni}"),
        (Seen::Here { .. }, None) => "at this node".to_owned(),
    }
}
