//! The permissions: each action that `vipkeeper policy` prints for this configuration, answered by a read that was made
//! or by a dry run.

use std::collections::BTreeSet;

use super::facts::{CloudReads, Facts, Need};
use super::finding::{Check, CheckVerdict, Finding};
use crate::action::{Action, Force, RouteCall};
use crate::binding::{Account, Binding, ClaimMode, OnRelease, Vip};
use crate::claim_tag;
use crate::ec2::Ec2Error;
use crate::ec2::ask::{DryRun, has_dry_run};
use crate::ec2::codes::{self, Label};
use crate::ec2::reason::Reason;
use crate::ids::Term;
use crate::names::OneOf;
use crate::observe::cause::{Cause, FailedRead};
use crate::observe::seen::Seen;
use crate::observe::{LastRead, World};
use crate::status::hint;

const ADVICE: &str = "let this node's role have the policy that 'vipkeeper policy' prints";

pub(super) const PERMISSIONS: &[Check] = &[
    Check { id: "allowed-to-look", title: "The role may read", advice: ADVICE, judge: look },
    Check { id: "allowed-to-assume-role", title: "The role may assume its roles", advice: ADVICE, judge: assume_role },
    Check { id: "allowed-elastic-ip", title: "The role may move Elastic IPs", advice: ADVICE, judge: elastic_ip },
    Check { id: "allowed-route", title: "The role may point routes", advice: ADVICE, judge: route },
    Check { id: "allowed-route-deletion", title: "The role may delete routes", advice: ADVICE, judge: route_deletion },
    Check {
        id: "allowed-source-dest-check",
        title: "The role may switch the source/destination check off",
        advice: ADVICE,
        judge: source_dest_check,
    },
    Check {
        id: "allowed-secondary-ip",
        title: "The role may move secondary addresses",
        advice: ADVICE,
        judge: secondary_ip,
    },
    Check { id: "allowed-claims", title: "The role may record claims", advice: ADVICE, judge: claims },
];

/// The actions whose dry runs show the permissions that one VIP needs. No more is asked than the daemon would do.
#[must_use]
pub fn asks(vip: &Vip, world: &World) -> Vec<Action> {
    let mut asks = Vec::new();
    for binding in vip.bindings.values().flatten() {
        match binding.clone() {
            Binding::ElasticIp { allocation, eni, private_ip, .. } => {
                let found = world.addresses.read().ok();
                let found = found.and_then(|(all, _)| all.iter().find(|address| address.allocation == allocation));
                if let Some(association) = found.and_then(|address| address.association.clone()) {
                    asks.push(Action::DisassociateAddress { allocation: allocation.clone(), association });
                }
                asks.push(Action::AssociateAddress { allocation, eni, private_ip, force: Force::Take });
            }
            Binding::Route { account, table, destination, eni, on_release } => {
                for call in [RouteCall::CreateOnly, RouteCall::ReplaceElseCreate] {
                    let (account, table, eni) = (account.clone(), table.clone(), eni.clone());
                    asks.push(Action::PointRoute { account, table, destination, eni, call });
                }
                if on_release == OnRelease::Delete {
                    asks.push(Action::DeleteRoute { account, table, destination, eni });
                }
            }
            Binding::SourceDestCheck { eni } => asks.push(Action::DisableSourceDestCheck { eni }),
            Binding::SecondaryIp { .. } | Binding::LocalAddress { .. } => {}
        }
    }
    // A claim is recorded on the anchor, and copied to the other resources that can carry claims.
    let resources: BTreeSet<_> = vip.anchor.iter().cloned().chain(vip.other_anchors()).collect();
    for anchor in resources.iter().filter(|_| vip.claims == ClaimMode::Tags) {
        let (key, value) = (claim_tag::tag_key(vip.delegate_ip, &vip.instance), claim_tag::tag_value(Term::default()));
        asks.push(Action::RecordClaim { anchor: anchor.clone(), key: key.clone(), value: value.clone() });
        asks.push(Action::ForgetClaim { anchor: anchor.clone(), key, value });
    }
    asks
}

/// The account whose role makes the calls of an action.
fn account_of(action: &Action) -> Account {
    match action {
        Action::PointRoute { account, .. } | Action::DeleteRoute { account, .. } => account.clone(),
        Action::RecordClaim { anchor, .. } | Action::ForgetClaim { anchor, .. } => anchor.account(),
        _ => Account::Own,
    }
}

/// The answer about one action.
enum Answer {
    Allowed,
    Denied {
        why: String,
        advice: String,
    },
    /// Nobody can tell, and why.
    Open(String),
}

impl Answer {
    fn of_failed(failed: &FailedRead) -> Self {
        let reason = failed.cause.reason.as_ref().and_then(OneOf::known);
        if is_denial(failed.cause.code.as_deref(), reason) {
            Self::Denied { why: failed.why.clone(), advice: hint::advise(Some(failed.class), &failed.cause) }
        } else {
            Self::Open(failed.why.clone())
        }
    }

    fn of_dry_run(outcome: &Result<DryRun, Ec2Error>) -> Self {
        match outcome {
            Ok(DryRun::Allowed) => Self::Allowed,
            Ok(DryRun::NotAvailable) => Self::Open("EC2 has no dry run for it".to_owned()),
            Ok(DryRun::CarriedOut) => {
                Self::Open("this endpoint does not know dry runs, and carried the call out".to_owned())
            }
            Err(error) if is_denial(error.code.as_deref(), error.reason) => {
                Self::Denied { why: error.to_string(), advice: hint::advise(Some(error.class), &Cause::from(error)) }
            }
            Err(error) => Self::Open(error.to_string()),
        }
    }
}

/// Whether the call itself was denied. A role that could not be assumed is a fault of its own.
fn is_denial(code: Option<&str>, reason: Option<Reason>) -> bool {
    let is_not_allowed = code.and_then(codes::known).is_some_and(|known| known.label == Label::NotAllowed);
    is_not_allowed && reason != Some(Reason::RoleNotAssumed)
}

/// The answers about one needed action: one for each resource that was asked about.
fn answers(reads: &CloudReads, need: &Need) -> Vec<Answer> {
    fn of_read<T>(read: &LastRead<T>) -> Option<Answer> {
        match read {
            LastRead::NotRead => None,
            LastRead::Failed(failed) => Some(Answer::of_failed(failed)),
            LastRead::Read { .. } => Some(Answer::Allowed),
        }
    }
    fn of_role<T>(read: &LastRead<T>) -> Option<Answer> {
        match read {
            LastRead::Failed(failed)
                if failed.cause.reason.as_ref().is_some_and(|it| *it == Reason::RoleNotAssumed) =>
            {
                let advice = hint::advise(Some(failed.class), &failed.cause);
                Some(Answer::Denied { why: failed.why.clone(), advice })
            }
            LastRead::Failed(failed) => Some(Answer::Open(failed.why.clone())),
            LastRead::Read { .. } => Some(Answer::Allowed),
            LastRead::NotRead => None,
        }
    }
    let world = &reads.world;
    match need.operation() {
        "DescribeAddresses" => of_read(&world.addresses).into_iter().collect(),
        "DescribeRouteTables" => world.tables.get(&need.account).and_then(of_read).into_iter().collect(),
        "DescribeNetworkInterfaces" => of_read(&world.interfaces).into_iter().collect(),
        "DescribeTags" => world.tags.values().filter_map(of_read).collect(),
        "AssumeRole" => {
            let by_role = world.tables.iter().filter(|(account, _)| matches!(account, Account::Role(_)));
            by_role.filter_map(|(_, read)| of_role(read)).chain(of_role(&world.interfaces)).collect()
        }
        operation => {
            let asked = reads
                .dry_runs
                .iter()
                .filter(|(action, _)| action.operation() == Some(operation) && account_of(action) == need.account);
            asked.map(|(_, outcome)| Answer::of_dry_run(outcome)).collect()
        }
    }
}

/// Judges the actions among these. `gravity` is what a denial costs.
fn judge(facts: &Facts, operations: &[&str], gravity: impl Fn(&str) -> CheckVerdict) -> Finding {
    let (_, reads) = match facts.reads() {
        Ok(found) => found,
        Err(why) => return Finding::skipped(why),
    };
    let needs: Vec<_> = reads.needs.iter().filter(|need| operations.contains(&need.operation())).collect();
    if needs.is_empty() {
        return Finding::skipped("this configuration does not need it");
    }
    let (mut denied, mut open, mut allowed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut worst, mut advice) = (CheckVerdict::Warning, None);
    for need in needs {
        let told = |why: &str| format!("{}: {why} (statement {})", need.action, need.statement);
        let found = answers(reads, need);
        if found.is_empty() {
            let why = match need.operation() {
                "DisassociateAddress" => "it cannot be asked while the Elastic IP is associated nowhere",
                operation if has_dry_run(operation) => "it was not asked, because its object is not known",
                _ => "EC2 has no dry run for it, so the first move shows it",
            };
            open.push(told(why));
        }
        for answer in found {
            match answer {
                Answer::Allowed => push_new(&mut allowed, need.action.clone()),
                Answer::Open(why) => push_new(&mut open, told(&why)),
                Answer::Denied { why, advice: helps } => {
                    if gravity(need.operation()) == CheckVerdict::Failed {
                        worst = CheckVerdict::Failed;
                    }
                    advice = advice.or(Some(helps));
                    push_new(&mut denied, told(&why));
                }
            }
        }
    }
    if let Some(advice) = advice {
        return Finding::of_faults(worst, denied, "").advise(advice);
    }
    if allowed.is_empty() {
        return Finding { lines: open, ..Finding::skipped("") };
    }
    let open = open.into_iter().map(|line| format!("not known: {line}"));
    Finding { lines: std::iter::once(allowed.join(", ")).chain(open).collect(), ..Finding::ok("") }
}

fn push_new(lines: &mut Vec<String>, line: String) {
    if !lines.contains(&line) {
        lines.push(line);
    }
}

fn always_fails(_: &str) -> CheckVerdict {
    CheckVerdict::Failed
}

fn look(facts: &Facts) -> Finding {
    let reads = ["DescribeAddresses", "DescribeRouteTables", "DescribeNetworkInterfaces", "DescribeTags"];
    // Without the tags a leader still takes, and only takes nothing back.
    judge(
        facts,
        &reads,
        |operation| if operation == "DescribeTags" { CheckVerdict::Warning } else { CheckVerdict::Failed },
    )
}

fn assume_role(facts: &Facts) -> Finding {
    judge(facts, &["AssumeRole"], always_fails)
}

fn elastic_ip(facts: &Facts) -> Finding {
    // A taker needs no release by the former holder.
    let gravity =
        |operation: &str| if operation == "AssociateAddress" { CheckVerdict::Failed } else { CheckVerdict::Warning };
    judge(facts, &["AssociateAddress", "DisassociateAddress"], gravity)
}

fn route(facts: &Facts) -> Finding {
    judge(facts, &["CreateRoute", "ReplaceRoute"], always_fails)
}

fn route_deletion(facts: &Facts) -> Finding {
    judge(facts, &["DeleteRoute"], |_| CheckVerdict::Warning)
}

fn source_dest_check(facts: &Facts) -> Finding {
    let is_off = facts.reads().is_ok_and(|(config, reads)| {
        reads.vips(config).all(|(_, vip, observed)| {
            let mut checks = vip.bindings.iter().filter(|(_, it)| matches!(it, Some(Binding::SourceDestCheck { .. })));
            checks.all(|(key, _)| matches!(observed.sights.get(key).map(|sight| &sight.seen), Some(Seen::Here { .. })))
        })
    });
    let gravity = if is_off { CheckVerdict::Warning } else { CheckVerdict::Failed };
    judge(facts, &["ModifyNetworkInterfaceAttribute"], |_| gravity)
}

fn secondary_ip(facts: &Facts) -> Finding {
    let moves =
        ["AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses"];
    judge(facts, &moves, always_fails)
}

fn claims(facts: &Facts) -> Finding {
    judge(facts, &["CreateTags", "DeleteTags"], |_| CheckVerdict::Warning)
}
