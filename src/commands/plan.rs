//! `vipkeeper plan` looks once, and says what the daemon would do. The command holds an [`Ec2Read`] and nothing that
//! writes: the types, not a flag, ensure that the command changes nothing. The command decides as the daemon does,
//! through a [`Decider`]. It has no time to see whether a dispute between desired-state file and watchdog lasts,
//! and says so.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::binding::{BindingKey, Kind};
use crate::commands::look::LookOnce;
use crate::config::{Config, WitnessMode};
use crate::daemon::{Ask, Knock};
use crate::decide::Decider;
use crate::decide::claim::Standing;
use crate::decide::plan::{Plan, State, Unasked, Verdict};
use crate::decide::timing::HOOK_LOST_AFTER;
use crate::decide::witness::{Dispute, GoesBy, Heard};
use crate::desired::{Desired, WhyUnknown};
use crate::ec2::{Ec2Read, Urgency};
use crate::identity::Identify;
use crate::machine::kernel::{KernelError, LocalView};
use crate::observe::obstacles::{TakeoverObstacle, obstacles};
use crate::observe::seen::{Moment, Now, QuorumWord, Serving, Witness};
use crate::observe::{Known, World, observe};
use crate::state_dir::Machine;

/// The daemon's next steps for all VIPs.
#[derive(Debug, Serialize)]
pub struct Preview {
    pub vips: Vec<VipPreview>,
}

/// The daemon's next steps for one VIP.
#[derive(Debug, Serialize)]
pub struct VipPreview {
    pub delegate_ip: IpAddr,
    /// `leader`, `superseded`, `standby` or `unknown`.
    pub standing: &'static str,
    /// The reason for the standing, where the word alone does not say it.
    pub reason: Option<String>,
    /// Why the desired-state file is not in force; `None` if the file is valid.
    pub desired_invalid: Option<String>,
    /// Why the file of an operator's hold does not count; `None` if there is no such file, or if the file counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_invalid: Option<String>,
    pub bindings: Vec<BindingPreview>,
    /// The change of the claim's tag, if the daemon would write it.
    pub record: Option<String>,
    /// The changes of the claim's tags on other resources than the anchor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
    /// Everything known that must make a takeover by this node fail.
    pub obstacles: Vec<String>,
    #[serde(skip)]
    conclusion: Conclusion,
}

/// The daemon's next step for one binding.
#[derive(Debug, Serialize)]
pub struct BindingPreview {
    pub kind: Kind,
    pub target: String,
    pub state: &'static str,
    pub detail: String,
    pub action: Option<String>,
}

/// The conclusion from the preview, for the exit code. The order of the variants is their weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conclusion {
    InSync,
    /// Everything is in sync now, but a takeover by this node must fail.
    TakeoverWouldFail,
    Changes,
    CouldNotTell,
}

impl Conclusion {
    /// The exit code: 0 in sync, 2 changes to make or a takeover that would fail, 1 could not tell.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InSync => 0,
            Self::TakeoverWouldFail | Self::Changes => 2,
            Self::CouldNotTell => 1,
        }
    }
}

/// Everything that a preview is made from.
pub struct Inputs<'a, E, I, M> {
    pub ec2: &'a E,
    pub identify: &'a I,
    pub machine: &'a mut M,
    /// The kernel's answer about the addresses of the config, or why there is none.
    pub local: Result<LocalView, KernelError>,
    pub ask_watchdog: Ask,
    pub knock: Knock,
}

/// The preview continues from a memory that was restored this long before its only look, as a daemon does.
const BEFORE: Duration = Duration::from_millis(1);

/// Looks once and plans.
///
/// # Errors
/// When this node cannot find out who it is: one line. A read that fails is part of the preview and no error.
pub async fn preview<E: Ec2Read, I: Identify, M: Machine>(
    config: &Config,
    inputs: Inputs<'_, E, I, M>,
) -> Result<Preview, String> {
    let Inputs { ec2, identify, machine, local, ask_watchdog, knock } = inputs;
    // All reads, the watchdog's word and the plans have one moment. The moment is not zero, because a word at zero
    // counts as no word.
    let looked_at = machine.now().at.max(BEFORE);
    let mut known = Known::new(identify.identify(config).await?);
    let mut world = World::default();
    // A failed read is part of the world, so its error is not handled here.
    let _ = world.put_local(local, looked_at);
    LookOnce { urgency: Urgency::Normal, at: looked_at }.look(config, ec2, &mut known, &mut world).await;
    let answer = match config.witness {
        WitnessMode::Off => None,
        WitnessMode::Check | WitnessMode::Trust => Some(ask_watchdog().await),
    };
    let now = Now { at: looked_at, ..machine.now() };
    let server_ms = ec2.time().map(|server| server.unix_ms(looked_at));
    let mut vips = Vec::new();
    for vip_config in &config.vips {
        let delegate_ip = vip_config.delegate_ip;
        // A word that was not asked for has no time.
        let heard = answer.as_ref().map_or(Heard { word: Witness::Silent, at: Moment::ZERO }, |asked| Heard {
            word: asked.on(delegate_ip),
            at: looked_at,
        });
        let reading = machine.desired(delegate_ip);
        let mut decider = Decider::restore(machine.load(delegate_ip), looked_at.saturating_sub(BEFORE), now.wall_ms);
        let hold = machine.hold(delegate_ip);
        decider.learn_hold(&hold, &reading, looked_at);
        let desired = decider.judge(config.witness, &reading.desired, heard, now);
        let (vip, mut observed) = observe(config, vip_config, &known, &world);
        (observed.witness, observed.server_ms) = (heard.word, server_ms);
        if decider.may_keep(&desired) {
            let quorum = answer.as_ref().and_then(|asked| asked.quorum(delegate_ip));
            let port = knock(config.pgpool.address).await;
            // One question cannot tell since when the watchdog says so: the preview shows what comes if it lasts.
            let now_said = |quorum| QuorumWord { quorum, since: Moment::ZERO, at: looked_at };
            observed.serving = Serving { port, quorum: quorum.map(now_said) };
        }
        let plan = decider.decide(&vip, &desired, &mut observed, now);
        let settlement = Settlement::of(config.witness, heard, &decider);
        let preview = VipPreview::new(&plan, &desired, settlement.as_ref(), delegate_ip);
        let preview = VipPreview { desired_invalid: reading.invalid, hold_invalid: hold.err(), ..preview };
        vips.push(preview.with_obstacles(&obstacles(config, &vip, &known, &world)));
    }
    Ok(Preview { vips })
}

/// The way in which the daemon settles a dispute between desired-state file and watchdog.
struct Settlement<'a> {
    dispute: &'a Dispute,
    goes_by: GoesBy,
}

impl<'a> Settlement<'a> {
    /// `None` if nothing is in dispute right now.
    fn of(mode: WitnessMode, heard: Heard, decider: &'a Decider) -> Option<Self> {
        // Without the watchdog's word there is only the memory of a dispute.
        let dispute = match heard.word {
            Witness::Escalated | Witness::NotEscalated => decider.dispute()?,
            Witness::Silent | Witness::Asking | Witness::Unheard => return None,
        };
        Some(Self { dispute, goes_by: dispute.goes_by(mode) })
    }

    fn reason(&self) -> String {
        let message = self.dispute.message();
        match self.goes_by {
            GoesBy::Watchdog => format!("{message}: the daemon goes by the watchdog's word"),
            GoesBy::FileForNow => format!(
                "{message}: the daemon goes by the file, and by the watchdog's word once that has lasted for {} s",
                HOOK_LOST_AFTER.as_secs()
            ),
            GoesBy::File => format!("{message}: the daemon goes by the file"),
        }
    }
}

impl VipPreview {
    fn new(plan: &Plan, desired: &Desired, settlement: Option<&Settlement<'_>>, delegate_ip: IpAddr) -> Self {
        let bindings = plan.bindings.iter().map(|(key, verdict)| BindingPreview {
            kind: key.kind,
            target: key.target.clone(),
            state: verdict.state.name(),
            detail: verdict.why.to_string(),
            action: verdict.change.as_ref().map(|change| change.action.to_string()),
        });
        Self {
            delegate_ip,
            standing: match plan.standing {
                Standing::Unknown => "unknown",
                Standing::Standby => "standby",
                Standing::Superseded(_) => "superseded",
                Standing::Leader => "leader",
            },
            reason: match (settlement, plan.unasked) {
                (Some(settlement), _) => Some(settlement.reason()),
                (None, Some(Unasked::NoHookYet)) => {
                    Some("no hook has run yet, which is normal on a node that has not led since boot".to_owned())
                }
                (None, _) if *desired == Desired::Unknown(WhyUnknown::NotAskedSince) => Some(
                    "the daemon went by the word of Pgpool's watchdog against the file, and the watchdog gives no word now"
                        .to_owned(),
                ),
                (None, _) => desired.why().map(str::to_owned),
            },
            desired_invalid: None,
            hold_invalid: None,
            bindings: bindings.collect(),
            record: plan.record.as_ref().map(|(_, action)| action.to_string()),
            copies: plan.copies.values().map(|(_, action)| action.to_string()).collect(),
            obstacles: Vec::new(),
            conclusion: Conclusion::of(plan, settlement),
        }
    }

    fn with_obstacles(mut self, obstacles: &[(Option<BindingKey>, TakeoverObstacle)]) -> Self {
        self.obstacles = obstacles.iter().map(|(_, obstacle)| obstacle.to_string()).collect();
        if !self.obstacles.is_empty() {
            self.conclusion = self.conclusion.max(Conclusion::TakeoverWouldFail);
        }
        self
    }
}

impl Conclusion {
    fn of(plan: &Plan, settlement: Option<&Settlement<'_>>) -> Self {
        let of_binding = |verdict: &Verdict| match (&verdict.change, verdict.state) {
            (None, State::Unknown) => Self::CouldNotTell,
            (None, State::InSync) => Self::InSync,
            // These states are not as they should be, even if the daemon does nothing about them now.
            (Some(_), _) | (None, State::Drift | State::Waiting | State::Blocked) => Self::Changes,
        };
        let is_open = settlement.is_some_and(|settlement| settlement.goes_by == GoesBy::FileForNow);
        let of_desired = match plan.unasked {
            // Only time can tell whether a hook was lost.
            _ if is_open => Self::CouldNotTell,
            None | Some(Unasked::NoHookYet) => Self::InSync,
            Some(Unasked::NotSeen | Unasked::HookMissing) => Self::CouldNotTell,
        };
        let records = plan.record.is_some() || !plan.copies.is_empty();
        let of_record = if records { Self::Changes } else { Self::InSync };
        plan.bindings.values().map(of_binding).fold(of_desired.max(of_record), Self::max)
    }
}

impl Preview {
    /// The worst conclusion of all VIPs. `CouldNotTell` is the worst of all.
    #[must_use]
    pub fn conclusion(&self) -> Conclusion {
        self.vips.iter().map(|vip| vip.conclusion).max().unwrap_or(Conclusion::InSync)
    }

    /// The page for people.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        for vip in &self.vips {
            // Writing into a string cannot fail.
            let reason = vip.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let _ = writeln!(page, "{}  {}{reason}", vip.delegate_ip, vip.standing);
            if let Some(why) = &vip.desired_invalid {
                let _ = writeln!(page, "  the desired-state file is not used: {why}");
                let _ = writeln!(
                    page,
                    "  a daemon that runs goes by the last good one that it has read: 'vipkeeper status' shows what that says"
                );
            }
            if let Some(why) = &vip.hold_invalid {
                let _ = writeln!(page, "  {why}");
                let _ = writeln!(page, "  a daemon that runs goes by the hold that it has read, until that hold's end");
            }
            for action in vip.record.iter().chain(&vip.copies) {
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
            for obstacle in &vip.obstacles {
                let _ = writeln!(page, "  a takeover by this node would fail: {obstacle}");
            }
        }
        let _ = match self.conclusion() {
            Conclusion::InSync => writeln!(page, "In sync: nothing to do."),
            Conclusion::TakeoverWouldFail => {
                writeln!(page, "In sync now, but a takeover by this node would fail; nothing was changed.")
            }
            Conclusion::Changes => writeln!(page, "There are changes to make; nothing was changed."),
            Conclusion::CouldNotTell => writeln!(page, "Some state could not be told; nothing was changed."),
        };
        page
    }
}
