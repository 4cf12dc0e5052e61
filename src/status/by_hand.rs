//! The commands that a person gives on a node in a hook's stead. A wrong one takes the VIP from the node that serves it, so
//! the advice follows from everything that the daemon knows: Pgpool's watchdog, and the role in force.

use super::conditions::{holding, leads, role};
use super::layout::clean;
use super::{Condition, ConditionName, ConditionReason, DesiredRole, VipStatus};

/// The person who gives the command, as each advice names them.
const AS_HOOK: &str = "as the hook's user";

/// The advice to write the desired-state file anew: the command of the role that Pgpool's watchdog confirms, else that of
/// the role in force. The command of the other role stands second, and only with its condition.
pub(super) fn write_anew(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    let asked = "'pcp_watchdog_info' says";
    match (vip.desired.watchdog_leads, in_force(vip)) {
        (Some(true), _) => {
            format!(
                "'vipkeeper up {ip}' {AS_HOOK}: Pgpool's watchdog says that this node leads, and `up` moves nothing away"
            )
        }
        (Some(false), DesiredRole::Leader) => format!(
            "this node has the VIP, and Pgpool's watchdog says that it does not lead: 'vipkeeper down {ip}' {AS_HOOK} only if \
             'pcp_watchdog_info' names another leader, 'vipkeeper up {ip}' if it names this node"
        ),
        (Some(false), _) => {
            format!("'vipkeeper down {ip}' {AS_HOOK}: Pgpool's watchdog says that this node does not lead")
        }
        (None, DesiredRole::Leader) => format!(
            "'vipkeeper up {ip}' {AS_HOOK}, because this node leads; 'vipkeeper down {ip}' takes the VIP away from here, so \
             only if {asked} that another node leads"
        ),
        (None, DesiredRole::Standby) => format!(
            "'vipkeeper down {ip}' {AS_HOOK}, because this node stands by; 'vipkeeper up {ip}' only if {asked} that this node \
             leads"
        ),
        (None, DesiredRole::Unknown) => format!(
            "{AS_HOOK}, the command that fits: 'vipkeeper up {ip}' if {asked} that this node leads, 'vipkeeper down {ip}' if \
             it says that another one does"
        ),
    }
}

/// The advice to begin a claim anew on a node that leads. An `up` by hand always begins a new claim, and lets go of nothing
/// meanwhile, as a `down` before it would.
pub(super) fn claim_anew(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    match vip.desired.watchdog_leads {
        Some(true) => {
            format!("make a fresh claim, {AS_HOOK}: 'vipkeeper up {ip}'; Pgpool's watchdog says that this node leads")
        }
        Some(false) | None => format!(
            "if 'pcp_watchdog_info' says that this node leads, make a fresh claim, {AS_HOOK}: 'vipkeeper up {ip}'"
        ),
    }
}

/// The advice on a node on which no hook has said what is wanted. Another node's claim on record says who leads, unless
/// Pgpool's watchdog says that this node does.
pub(super) fn without_word(vip: &VipStatus) -> String {
    match vip.other_claims.first().filter(|_| vip.desired.watchdog_leads != Some(true)) {
        Some(rival) => {
            let node = clean(rival.node.as_str());
            format!(
                "nothing here, if {node} lives: it leads by its claim on record, and takes the VIP to itself; see its page. \
                 If it is gone, start Pgpool, whose hooks say who leads"
            )
        }
        None => "start Pgpool, whose hooks say it".to_owned(),
    }
}

/// The advice after a hook was lost. Only Pgpool's watchdog can contradict a file, so its word is known.
pub(super) fn after_lost_hook(vip: &VipStatus) -> String {
    let look = "then look at if_up_cmd and if_down_cmd in pgpool.conf, and at what Pgpool's log says of them";
    match vip.desired.watchdog_leads {
        Some(_) => format!("{}; {look}", write_anew(vip)),
        None => format!("see who leads: 'pcp_watchdog_info'; {look}"),
    }
}

/// The advice where the watchdog's word keeps a leader from taking back its VIP.
pub(super) fn after_lost_down(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    format!(
        "see who leads: 'pcp_watchdog_info'; if it is another node, this one's `down` was lost: 'vipkeeper down {ip}' \
         {AS_HOOK}"
    )
}

/// The advice where the watchdog process of a former leader is gone. A watchdog that was started anew may say that this node
/// leads; where it says the opposite, nothing is left to do.
pub(super) fn without_watchdog(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    match vip.desired.watchdog_leads {
        Some(_) => write_anew(vip),
        None => {
            format!(
                "start Pgpool if it does not run; if it runs and stands by, say so as its user: 'vipkeeper down {ip}'"
            )
        }
    }
}

/// The advice where Pgpool hangs on a node that is superseded.
pub(super) const HANGS: &str =
    "Pgpool hangs on this node: restart it here once 'pcp_watchdog_info' shows that another node leads";

/// The advice where Pgpool hangs on a node that leads.
pub(super) const LEADER_HANGS: &str = "Pgpool hangs on this node, to which EC2 leads the clients: see its log, and restart it here; \
                                       another node leads then, and has the VIP";

/// The advice to a leader whose claim is superseded.
pub(super) fn superseded(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    format!("nothing, if the other node leads; if 'pcp_watchdog_info' says that this one does: 'vipkeeper up {ip}'")
}

/// The advice to a leader whose claim is superseded by one whose end it cannot see.
pub(super) fn out_of_sight(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    format!(
        "name that resource again in the configuration; or, if 'pcp_watchdog_info' says that this node leads: \
         'vipkeeper up {ip}'"
    )
}

/// The way to end an operator's hold.
pub(super) fn resume(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    let is_unserved = |held: &Condition| held.reason == ConditionReason::Unserved;
    if holding(vip, ConditionName::Held).is_some_and(is_unserved) {
        return format!("'vipkeeper resume {ip}' {AS_HOOK}, on this node first, because it leads; then on the others");
    }
    format!("'vipkeeper resume {ip}' {AS_HOOK} ends the hold; it also ends by itself")
}

/// The advice about an operator's hold that does not count.
pub(super) fn hold_anew(vip: &VipStatus) -> String {
    let ip = vip.delegate_ip;
    format!("hold it anew as root or as a user in hook_users, or end it: 'vipkeeper resume {ip}'")
}

/// The role in one sentence that stays in force while the file cannot be used.
pub(super) fn stays_in_force(vip: &VipStatus, age: &str) -> String {
    match in_force(vip) {
        DesiredRole::Unknown => "no good file came before it: nothing is touched".to_owned(),
        DesiredRole::Leader => format!("the last good one stays in force: this node has been leader for {age}"),
        DesiredRole::Standby if role(vip) == DesiredRole::Leader => {
            "the last good one stays in force: leader, but superseded by a newer claim".to_owned()
        }
        DesiredRole::Standby => format!("the last good one stays in force: this node has been standby for {age}"),
    }
}

/// The role that this node plays. A leader whose claim is superseded has nothing to keep.
fn in_force(vip: &VipStatus) -> DesiredRole {
    match role(vip) {
        DesiredRole::Leader if !leads(vip) => DesiredRole::Standby,
        role => role,
    }
}
