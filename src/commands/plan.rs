//! `vipkeeper plan`: looks once, and says what the daemon would do. It holds an [`Ec2Read`] and nothing that writes, so
//! that it changes nothing by its types and not by a flag.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::binding::Kind;
use crate::config::Config;
use crate::decide::claim::Standing;
use crate::decide::memory::Memory;
use crate::decide::plan::{self, Plan, State, Unasked, plan};
use crate::desired::Desired;
use crate::ec2::{Ec2Read, Urgency};
use crate::identity::Identify;
use crate::machine::kernel::{KernelError, LocalAddress};
use crate::observe::seen::Moment;
use crate::observe::{Known, World, ask, observe};
use crate::state_dir::Machine;

/// What the daemon would do for every VIP.
#[derive(Debug, Serialize)]
pub struct Preview {
    pub vips: Vec<VipPreview>,
}

/// What the daemon would do for one VIP.
#[derive(Debug, Serialize)]
pub struct VipPreview {
    pub delegate_ip: IpAddr,
    /// `leader`, `superseded`, `standby` or `unknown`.
    pub standing: &'static str,
    /// Why that, where the word alone does not say it.
    pub reason: Option<&'static str>,
    /// Why the desired-state file is not the one in force, if it is not.
    pub desired_invalid: Option<String>,
    pub bindings: Vec<BindingPreview>,
    /// The claim's tag, where it would be written.
    pub record: Option<String>,
    #[serde(skip)]
    verdict: Verdict,
}

/// What the daemon would do about one binding.
#[derive(Debug, Serialize)]
pub struct BindingPreview {
    pub kind: Kind,
    pub target: String,
    pub state: &'static str,
    pub detail: String,
    pub action: Option<String>,
}

/// What the preview comes to, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    InSync,
    Changes,
    CouldNotTell,
}

impl Verdict {
    /// 0, 2 or 1.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InSync => 0,
            Self::Changes => 2,
            Self::CouldNotTell => 1,
        }
    }
}

/// So many rounds of questions show every id.
const ROUNDS: usize = 3;

/// Looks once and plans.
///
/// # Errors
/// One line when this node cannot find out who it is. A read that fails is part of the preview.
pub async fn preview<E: Ec2Read + Identify>(
    config: &Config,
    ec2: &E,
    local: Result<BTreeSet<LocalAddress>, KernelError>,
    machine: &mut impl Machine,
) -> Result<Preview, String> {
    let mut known = Known::new(ec2.identify(config).await?);
    let mut world = World::default();
    // Errors are part of the world.
    let _ = world.put_local(local, Moment::ZERO);
    // Each round shows ids that the next one asks by: a VPC and a primary address, then the tables with a tag.
    let mut asked = Vec::new();
    for _ in 0..ROUNDS {
        let questions = known.questions(config);
        for question in questions.into_iter().filter(|question| !asked.contains(question)).collect::<Vec<_>>() {
            let _ = world.put(ask(ec2, &question, Urgency::Normal).await, Moment::ZERO);
            asked.push(question);
        }
        known.learn(&world);
    }
    let wall_ms = machine.wall_ms();
    // Everything was read at zero; the plan is made a moment later.
    let now = Duration::from_millis(1);
    let vips = config.vips.iter().map(|vip_config| {
        let reading = machine.desired(vip_config.delegate_ip);
        let persisted = machine.load(vip_config.delegate_ip);
        let mut memory = persisted.map(|kept| Memory::restore(kept, Moment::ZERO, wall_ms)).unwrap_or_default();
        let (vip, observed) = observe(config, vip_config, &known, &world);
        memory.learn(&vip, &reading.desired, &observed, Moment::ZERO, wall_ms);
        let plan = plan(&vip, &reading.desired, &observed, &memory, now);
        VipPreview::new(vip_config.delegate_ip, &reading.desired, reading.invalid, &plan)
    });
    Ok(Preview { vips: vips.collect() })
}

impl VipPreview {
    fn new(delegate_ip: IpAddr, desired: &Desired, desired_invalid: Option<String>, plan: &Plan) -> Self {
        let bindings = plan.bindings.iter().map(|(key, verdict)| BindingPreview {
            kind: key.kind,
            target: key.target.clone(),
            state: verdict.state.name(),
            detail: verdict.why.to_string(),
            action: verdict.step.as_ref().map(|step| step.action.to_string()),
        });
        Self {
            delegate_ip,
            standing: match plan.standing {
                Standing::Unknown => "unknown",
                Standing::Standby => "standby",
                Standing::Superseded(_) => "superseded",
                Standing::Leader => "leader",
            },
            reason: match plan.unasked {
                Some(Unasked::NoHookYet) => {
                    Some("no hook has run yet, which is normal on a node that has not led since boot")
                }
                _ => desired.why(),
            },
            desired_invalid,
            bindings: bindings.collect(),
            record: plan.record.as_ref().map(|(_, action)| action.to_string()),
            verdict: Verdict::of(plan),
        }
    }
}

impl Verdict {
    fn of(plan: &Plan) -> Self {
        let of_binding = |verdict: &plan::Verdict| match (&verdict.step, verdict.state) {
            (None, State::Unknown) => Self::CouldNotTell,
            (None, State::InSync) => Self::InSync,
            // Where nothing is to be done now, something is still not as it should be.
            (Some(_), _) | (None, State::Drift | State::Waiting | State::Blocked) => Self::Changes,
        };
        let of_desired = match plan.unasked {
            None | Some(Unasked::NoHookYet) => Self::InSync,
            Some(Unasked::NotSeen | Unasked::HookMissing) => Self::CouldNotTell,
        };
        let of_record = if plan.record.is_some() { Self::Changes } else { Self::InSync };
        plan.bindings.values().map(of_binding).fold(of_desired.max(of_record), Self::max)
    }
}

impl Preview {
    /// The worst of all VIPs: what could not be told counts most.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.vips.iter().map(|vip| vip.verdict).max().unwrap_or(Verdict::InSync)
    }

    /// The page for people.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        for vip in &self.vips {
            // Writing into a string cannot fail.
            let reason = vip.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let _ = writeln!(page, "{}  {}{reason}", vip.delegate_ip, vip.standing);
            if let Some(why) = &vip.desired_invalid {
                let _ = writeln!(page, "  the desired-state file is not used: {why}");
                let _ = writeln!(
                    page,
                    "  a daemon that runs goes by the last good one that it has read: 'vipkeeper status' shows what that says"
                );
            }
            if let Some(action) = &vip.record {
                let _ = writeln!(page, "  would {action}");
            }
            for binding in &vip.bindings {
                let what = match &binding.action {
                    Some(action) => format!("would {action}"),
                    None => binding.detail.clone(),
                };
                let _ =
                    writeln!(page, "  {:<18} {:<28} {:<8} {what}", binding.kind.name(), binding.target, binding.state);
            }
        }
        let _ = match self.verdict() {
            Verdict::InSync => writeln!(page, "In sync: nothing to do."),
            Verdict::Changes => writeln!(page, "There are changes to make; nothing was changed."),
            Verdict::CouldNotTell => writeln!(page, "Some state could not be told; nothing was changed."),
        };
        page
    }
}
