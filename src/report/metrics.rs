//! The metrics. Only this module names them, and only [`Metrics`] holds them.
//!
//! Counters and histograms live in a recorder for as long as the daemon does. State metrics are made afresh from the
//! newest state for each rendering, so that a route table which is no longer there leaves no series behind.

#![expect(clippy::disallowed_macros, reason = "this is where metrics are counted")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::labels::{CLAIM, Direction, DriftReason, Outcome, PassResult, Source, State, actions_of, operations_of};
use super::lines;
use super::locked::locked;
use super::news::{News, VipKeys};
use crate::binding::BindingKey;
use crate::ec2::RequestReport;
use crate::ec2::codes::{self, Label};
use crate::ids::InstanceId;
use crate::status::{
    ClaimStatus, ClockStatus, Condition, ConditionName, ConditionReason, DesiredRole, ErrorStatus, Status, VipStatus,
};

/// The buckets of durations in seconds, from one EC2 round trip to more than an operation's timeout.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// The buckets of the time from the hook until every binding is in sync. A good failover takes less than one second, a
/// bad one takes minutes.
const CONVERGENCE_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// The buckets of the time from EC2's word to the first packet.
const DATAPATH_SECONDS: &[f64] =
    &[0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 60.0];

const DATAPATH: &str = "vipkeeper_datapath_seconds";
const CONVERGENCE: &str = "vipkeeper_convergence_seconds";

/// The metrics of one daemon.
pub struct Metrics {
    events: PrometheusRecorder,
    handle: PrometheusHandle,
    state: Mutex<Gauges>,
}

/// How things stand, as far as metrics show it.
#[derive(Debug, Clone, Default)]
struct Gauges {
    vips: BTreeMap<IpAddr, VipState>,
    /// When each source was last read, in Unix seconds; 0 means never.
    observed: BTreeMap<Source, f64>,
    credentials_expiry: Option<f64>,
    clock: ClockStatus,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a gauge of its own, and they are independent")]
#[derive(Debug, Clone)]
struct VipState {
    role: DesiredRole,
    term: u64,
    /// How long the claim took until every binding was here; `None` before that, without a claim, and where a hold was
    /// part of that time.
    took: Option<Duration>,
    /// `None` where claims are off, and none of them is to be on record.
    record: Option<Record>,
    contested: bool,
    hook_lost: bool,
    nobody_serves: bool,
    /// The answers to probes; `None` without a probe.
    answers: Option<Answered>,
    desired_invalid: bool,
    guard_alive: bool,
    held: bool,
    held_unserved: bool,
    watchdog_gone: bool,
    obstacles: u32,
    bindings: BTreeMap<BindingKey, State>,
    /// How long the next try waits. The key `None` stands for the claim's record.
    backoffs: BTreeMap<Option<BindingKey>, Duration>,
}

/// How this node's claim stands on record.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    has_newest: bool,
    not_read: bool,
}

impl Record {
    fn of(vip: &VipStatus, claim: Option<&ClaimStatus>) -> Option<Self> {
        let leads = claim.is_some();
        let says = |what: fn(&Condition) -> bool| vip.conditions.iter().any(what);
        (!says(is_off)).then(|| Self { has_newest: leads && says(is_on_record), not_read: leads && says(is_not_read) })
    }

    fn show(self, vip: &str) {
        gauge!("vipkeeper_claim_recorded", "vip" => vip.to_owned()).set(f64::from(self.has_newest));
        gauge!("vipkeeper_claims_not_read", "vip" => vip.to_owned()).set(f64::from(self.not_read));
    }
}

/// Who answers on a VIP, as far as metrics show it.
#[derive(Debug, Clone)]
struct Answered {
    by: Option<InstanceId>,
    /// Whether packets go astray to another node, and whether they reach nobody.
    astray: [(&'static str, bool); 2],
}

impl Answered {
    fn of(vip: &VipStatus) -> Option<Self> {
        let by = vip.answers.as_ref()?.by.clone();
        let astray =
            [("other_node", ConditionReason::OtherNode), ("nobody", ConditionReason::Nobody)].map(|(label, reason)| {
                let fails = |condition: &Condition| {
                    condition.name == ConditionName::PacketsArrive && !condition.holds && condition.reason == reason
                };
                (label, vip.conditions.iter().any(fails))
            });
        Some(Self { by, astray })
    }

    fn show(&self, vip: &str) {
        if let Some(by) = &self.by {
            gauge!("vipkeeper_vip_answered_by", "vip" => vip.to_owned(), "node" => by.to_string()).set(1.0);
        }
        for (why, astray) in self.astray {
            gauge!("vipkeeper_packets_astray", "vip" => vip.to_owned(), "reason" => why).set(f64::from(astray));
        }
    }
}

impl Default for VipState {
    fn default() -> Self {
        Self {
            role: DesiredRole::Unknown,
            term: 0,
            took: None,
            record: Some(Record::default()),
            contested: false,
            hook_lost: false,
            nobody_serves: false,
            answers: None,
            desired_invalid: false,
            guard_alive: false,
            held: false,
            held_unserved: false,
            watchdog_gone: false,
            obstacles: 0,
            bindings: BTreeMap::new(),
            backoffs: BTreeMap::new(),
        }
    }
}

impl VipState {
    fn show_claim(&self, vip: &str) {
        if let Some(took) = self.took {
            gauge!("vipkeeper_claim_convergence_seconds", "vip" => vip.to_owned()).set(took.as_secs_f64());
        }
        if let Some(record) = self.record {
            record.show(vip);
        }
    }

    fn take_conditions(&mut self, told: &VipStatus) {
        let of = |name: ConditionName| told.conditions.iter().filter(move |condition| condition.name == name);
        let holds = |name: ConditionName| of(name).any(|condition| condition.holds);
        self.contested = holds(ConditionName::Contested);
        self.hook_lost = holds(ConditionName::HookLost);
        self.held = holds(ConditionName::Held);
        let is_unserved = |condition: &Condition| {
            condition.name == ConditionName::Held && condition.holds && condition.reason == ConditionReason::Unserved
        };
        self.held_unserved = told.conditions.iter().any(is_unserved);
        self.desired_invalid = of(ConditionName::DesiredValid).any(|condition| !condition.holds);
        self.nobody_serves = told.clients.as_ref().is_some_and(|clients| clients.nobody_serves);
        self.answers = Answered::of(told);
    }
}

/// How long the claim took until every binding was here, if a hold was no part of that time.
fn took(claim: &ClaimStatus) -> Option<Duration> {
    let converged_ms = claim.converged_ms.filter(|_| !claim.was_held)?;
    Some(Duration::from_millis(converged_ms.saturating_sub(claim.started_ms)))
}

/// Whether this condition says that claims are off, and that no other node records any either.
fn is_off(condition: &Condition) -> bool {
    condition.name == ConditionName::ClaimRecorded && condition.reason == ConditionReason::ClaimsOff
}

/// Whether this condition says that the claim stands on record.
fn is_on_record(condition: &Condition) -> bool {
    condition.name == ConditionName::ClaimRecorded && condition.holds && condition.reason == ConditionReason::OnRecord
}

/// Whether this condition says that the record is not read, and so tells neither that the claim is there nor that it is not.
fn is_not_read(condition: &Condition) -> bool {
    condition.name == ConditionName::ClaimRecorded
        && !condition.holds
        && (condition.reason == ConditionReason::NotRead || condition.reason == ConditionReason::NotReadYet)
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Metrics {
    pub fn new(vips: &[VipKeys]) -> Self {
        let events = recorder();
        let metrics = Self { handle: events.handle(), events, state: Mutex::default() };
        with_local_recorder(&metrics.events, || {
            describe_events();
            for result in PassResult::ALL {
                counter!("vipkeeper_passes_total", "result" => result.name()).increment(0);
            }
            let _ = histogram!("vipkeeper_pass_duration_seconds");
            let _ = histogram!("vipkeeper_rate_limit_wait_seconds");
            for operation in ["DescribeNetworkInterfaces", "DescribeTags", "CreateTags", "DeleteTags"] {
                start_operation(operation);
            }
            let mut state = locked(&metrics.state);
            state.observed.insert(Source::NetworkInterfaces, 0.0);
            for VipKeys { vip, bindings } in vips {
                state.vip(*vip);
                for key in bindings {
                    state.set_binding(*vip, key.clone(), State::Unknown);
                }
            }
        });
        metrics
    }

    pub fn news(&self, news: &News<'_>) {
        with_local_recorder(&self.events, || {
            count(news);
            locked(&self.state).news(news);
        });
    }

    /// Takes over how things stand. The call also folds the histograms' samples, which otherwise grow until somebody
    /// asks for the metrics.
    pub fn status(&self, status: &Status) {
        let mut state = locked(&self.state);
        with_local_recorder(&self.events, || state.take(status));
        self.handle.run_upkeep();
    }

    pub fn render(&self) -> String {
        let now = recorder();
        // The loop must not wait for this lock during the rendering. Making a copy takes next to no time.
        let state = locked(&self.state).clone();
        with_local_recorder(&now, || {
            describe_state();
            state.show();
            let process = metrics_process::Collector::default();
            process.describe();
            process.collect();
        });
        self.handle.render() + &now.handle().render()
    }
}

impl Gauges {
    /// The VIP's state. A VIP that is new gets its metrics started first.
    fn vip(&mut self, vip: IpAddr) -> &mut VipState {
        self.vips.entry(vip).or_insert_with(|| {
            start_vip(vip);
            VipState::default()
        })
    }

    /// Sets the binding's state. A binding that is new gets its metrics started first.
    fn set_binding(&mut self, vip: IpAddr, key: BindingKey, now: State) {
        self.observed.entry(Source::of(key.kind)).or_insert(0.0);
        let bindings = &mut self.vip(vip).bindings;
        if !bindings.contains_key(&key) {
            start_binding(vip, &key);
        }
        bindings.insert(key, now);
    }

    /// Takes over the facts that no status holds.
    fn news(&mut self, news: &News<'_>) {
        match *news {
            News::Observed { source, at_ms } => {
                self.observed.insert(source, seconds(at_ms));
            }
            News::CredentialsExpiry { at_ms } => self.credentials_expiry = at_ms.map(seconds),
            _ => {}
        }
    }

    fn take(&mut self, status: &Status) {
        self.clock = status.clock.clone().unwrap_or_default();
        self.vips.retain(|vip, _| status.vips.iter().any(|told| told.delegate_ip == *vip));
        for told in &status.vips {
            let state = self.vip(told.delegate_ip);
            state.role = told.desired.role.known().unwrap_or(DesiredRole::Unknown);
            // The status still holds a claim that has ended, for `vipkeeper wait` and for people, but this node claims
            // nothing by it.
            let claim = told.claim.as_ref().filter(|_| state.role == DesiredRole::Leader);
            state.term = claim.map_or(0, |claim| claim.term.0);
            state.took = claim.and_then(took);
            state.record = Record::of(told, claim);
            state.guard_alive = told.desired.guard_alive == Some(true);
            state.watchdog_gone = told.watchdog_is_gone();
            state.obstacles = u32::try_from(told.obstacles.len()).unwrap_or(u32::MAX);
            state.take_conditions(told);
            let is_told = |key: &BindingKey| {
                told.bindings.iter().any(|binding| binding.kind == key.kind && binding.target == key.target)
            };
            // Before the first look the status names no binding: each binding of the config stays unknown.
            let looked = !told.bindings.is_empty();
            state.bindings.retain(|key, _| !looked || is_told(key));
            let held_back = |error: &Option<ErrorStatus>| {
                error.as_ref().map(|error| Duration::from_millis(error.held_back_ms)).unwrap_or_default()
            };
            state.backoffs.clear();
            for binding in &told.bindings {
                let key = BindingKey::new(binding.kind, &binding.target);
                state.backoffs.insert(Some(key), held_back(&binding.last_error));
            }
            if let Some(claim) = &told.claim {
                state.backoffs.insert(None, held_back(&claim.record_error));
            }
            for binding in &told.bindings {
                let key = BindingKey::new(binding.kind, &binding.target);
                let now = binding.state.known().unwrap_or(State::Unknown);
                self.set_binding(told.delegate_ip, key, now);
            }
        }
        // A source that is not read any more would only grow old, so it is dropped.
        let keys = self.vips.values().flat_map(|state| state.bindings.keys());
        let mut read: BTreeSet<_> = keys.map(|key| Source::of(key.kind)).collect();
        read.insert(Source::NetworkInterfaces);
        let is_told = |source: &Source| status.sources.iter().any(|told| told.source == *source);
        self.observed.retain(|source, _| read.contains(source) || is_told(source));
    }

    fn show(&self) {
        gauge!("vipkeeper_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        for (vip, state) in &self.vips {
            let vip = vip.to_string();
            for role in DesiredRole::ALL {
                gauge!("vipkeeper_desired_role", "vip" => vip.clone(), "role" => role.name())
                    .set(f64::from(*role == state.role));
            }
            #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a float's 53 bits for ages")]
            gauge!("vipkeeper_claim_term", "vip" => vip.clone()).set(state.term as f64);
            state.show_claim(&vip);
            gauge!("vipkeeper_contested", "vip" => vip.clone()).set(f64::from(state.contested));
            gauge!("vipkeeper_hook_lost", "vip" => vip.clone()).set(f64::from(state.hook_lost));
            gauge!("vipkeeper_nobody_serves", "vip" => vip.clone()).set(f64::from(state.nobody_serves));
            if let Some(answers) = &state.answers {
                answers.show(&vip);
            }
            gauge!("vipkeeper_desired_invalid", "vip" => vip.clone()).set(f64::from(state.desired_invalid));
            gauge!("vipkeeper_guard_alive", "vip" => vip.clone()).set(f64::from(state.guard_alive));
            gauge!("vipkeeper_held", "vip" => vip.clone()).set(f64::from(state.held));
            gauge!("vipkeeper_held_unserved", "vip" => vip.clone()).set(f64::from(state.held_unserved));
            gauge!("vipkeeper_watchdog_gone", "vip" => vip.clone()).set(f64::from(state.watchdog_gone));
            gauge!("vipkeeper_takeover_obstacles", "vip" => vip.clone()).set(f64::from(state.obstacles));
            for (key, now) in &state.bindings {
                for one in State::ALL {
                    gauge!(
                        "vipkeeper_binding_state",
                        "vip" => vip.clone(), "kind" => key.kind.name(), "target" => key.target.clone(),
                        "state" => one.name(),
                    )
                    .set(f64::from(one == now));
                }
            }
            for key in state.bindings.keys().map(Some).chain([None]) {
                let delay = state.backoffs.get(&key.cloned()).copied().unwrap_or_default();
                let (kind, target) = key.map_or((CLAIM, CLAIM), |key| (key.kind.name(), key.target.as_str()));
                gauge!(
                    "vipkeeper_backoff_seconds",
                    "vip" => vip.clone(), "kind" => kind, "target" => target.to_owned(),
                )
                .set(delay.as_secs_f64());
            }
        }
        for (source, at) in &self.observed {
            gauge!("vipkeeper_last_successful_observation_timestamp_seconds", "source" => source.name()).set(*at);
        }
        counter!("vipkeeper_log_lines_lost_total").absolute(lines::lost());
        #[expect(clippy::cast_precision_loss, reason = "an offset that a float cannot hold is wrong in any case")]
        if let Some(ahead_ms) = self.clock.ahead_ms {
            gauge!("vipkeeper_clock_offset_seconds").set(ahead_ms as f64 / 1000.0);
        }
        if let Some(max_error_ms) = self.clock.max_error_ms {
            gauge!("vipkeeper_clock_max_error_seconds").set(seconds(max_error_ms));
        }
        if let Some(at) = self.credentials_expiry {
            gauge!("vipkeeper_credentials_expiry_timestamp_seconds").set(at);
        }
    }
}

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets(SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(CONVERGENCE.to_owned()), CONVERGENCE_SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(DATAPATH.to_owned()), DATAPATH_SECONDS))
        .expect("the buckets are constants, and not empty")
        .build_recorder()
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// Counters start at 0, so that the first event already shows in a rate.
fn start_vip(vip: IpAddr) {
    let vip = vip.to_string();
    counter!("vipkeeper_superseded_total", "vip" => vip.clone()).increment(0);
    counter!("vipkeeper_connections_reset_total", "vip" => vip.clone()).increment(0);
    for direction in Direction::ALL {
        counter!("vipkeeper_takeovers_total", "vip" => vip.clone(), "direction" => direction.name()).increment(0);
    }
    let _ = histogram!(CONVERGENCE, "vip" => vip.clone());
    let _ = histogram!(DATAPATH, "vip" => vip.clone());
    start_action(&vip, CLAIM, "record_claim");
    start_action(&vip, CLAIM, "forget_claim");
}

fn start_binding(vip: IpAddr, key: &BindingKey) {
    let vip = vip.to_string();
    for reason in DriftReason::of(key.kind) {
        counter!(
            "vipkeeper_drift_total",
            "vip" => vip.clone(), "kind" => key.kind.name(), "target" => key.target.clone(), "reason" => reason.name(),
        )
        .increment(0);
    }
    for action in actions_of(key.kind) {
        start_action(&vip, key.kind.name(), action);
    }
    for operation in operations_of(key) {
        start_operation(operation);
    }
}

fn start_action(vip: &str, kind: &'static str, action: &'static str) {
    let _ = histogram!("vipkeeper_action_duration_seconds", "action" => action);
    for outcome in Outcome::ALL {
        counter!(
            "vipkeeper_actions_total",
            "vip" => vip.to_owned(), "kind" => kind, "action" => action, "outcome" => outcome.name(),
        )
        .increment(0);
    }
}

fn start_operation(operation: &'static str) {
    for label in Label::ALL {
        counter!("vipkeeper_ec2_requests_total", "operation" => operation, "code" => label.name()).increment(0);
    }
    counter!("vipkeeper_ec2_throttled_total", "operation" => operation).increment(0);
    let _ = histogram!("vipkeeper_ec2_request_duration_seconds", "operation" => operation);
}

fn count(news: &News<'_>) {
    match *news {
        News::PassDone { result, duration } => {
            counter!("vipkeeper_passes_total", "result" => result.name()).increment(1);
            histogram!("vipkeeper_pass_duration_seconds").record(duration);
        }
        News::ActionDone { vip, key, action, outcome, duration, .. } => {
            counter!(
                "vipkeeper_actions_total",
                "vip" => vip.to_string(), "kind" => key.map_or(CLAIM, |key| key.kind.name()),
                "action" => action.name(), "outcome" => outcome.name(),
            )
            .increment(1);
            histogram!("vipkeeper_action_duration_seconds", "action" => action.name()).record(duration);
        }
        News::Request(&RequestReport { operation, result, duration, waited }) => {
            let label = codes::label(result).name();
            counter!("vipkeeper_ec2_requests_total", "operation" => operation, "code" => label).increment(1);
            if codes::is_throttled(result) {
                counter!("vipkeeper_ec2_throttled_total", "operation" => operation).increment(1);
            }
            histogram!("vipkeeper_ec2_request_duration_seconds", "operation" => operation).record(duration);
            histogram!("vipkeeper_rate_limit_wait_seconds").record(waited);
        }
        News::Drift { vip, key, reason, .. } => {
            counter!(
                "vipkeeper_drift_total",
                "vip" => vip.to_string(), "kind" => key.kind.name(), "target" => key.target.clone(),
                "reason" => reason.name(),
            )
            .increment(1);
        }
        // A hold may last for hours, and a takeover after it is no slow one, so that it is not counted.
        News::Converged { vip, after, held: false, .. } => {
            histogram!(CONVERGENCE, "vip" => vip.to_string()).record(after);
        }
        News::PacketsCame { vip, after } => {
            histogram!(DATAPATH, "vip" => vip.to_string()).record(after);
        }
        News::ConnectionsReset { vip, reset, .. } => {
            counter!("vipkeeper_connections_reset_total", "vip" => vip.to_string()).increment(u64::from(reset.ended));
        }
        News::Superseded { vip, .. } => {
            counter!("vipkeeper_superseded_total", "vip" => vip.to_string()).increment(1);
        }
        News::Takeover { vip, direction } => {
            counter!("vipkeeper_takeovers_total", "vip" => vip.to_string(), "direction" => direction.name())
                .increment(1);
        }
        _ => {}
    }
}

fn describe_events() {
    describe_counter!("vipkeeper_passes_total", "Passes of the loop, by what they came to.");
    describe_histogram!("vipkeeper_pass_duration_seconds", "Duration of a pass: observe, plan, apply.");
    describe_counter!("vipkeeper_actions_total", "Changes of bindings and of the claim's record, by outcome.");
    describe_histogram!("vipkeeper_action_duration_seconds", "Duration of a change from its start to its outcome.");
    describe_counter!("vipkeeper_drift_total", "Episodes in which a binding differed from desired unasked.");
    describe_histogram!(CONVERGENCE, "Time from the start of the hook until every binding was seen at this node.");
    describe_histogram!(DATAPATH, "Time from EC2's accepted change to another machine's first packet through the VIP.");
    describe_counter!("vipkeeper_superseded_total", "Claims of this node that gave way to a newer one.");
    describe_counter!(
        "vipkeeper_connections_reset_total",
        "TCP connections that this node ended before it removed their local address."
    );
    describe_counter!("vipkeeper_takeovers_total", "Times that the VIP came to this node or left it.");
    describe_counter!("vipkeeper_ec2_requests_total", "Requests to EC2, by its answer.");
    describe_histogram!("vipkeeper_ec2_request_duration_seconds", "Duration of a request to EC2.");
    describe_counter!("vipkeeper_ec2_throttled_total", "Requests that EC2 refused by its rate limit.");
    describe_histogram!("vipkeeper_rate_limit_wait_seconds", "Time that requests waited for vipkeeper's own limit.");
}

fn describe_state() {
    describe_gauge!("vipkeeper_build_info", "The running program.");
    describe_gauge!("vipkeeper_desired_role", "What is wanted of this node: 1 for that role, 0 for the others.");
    describe_gauge!("vipkeeper_binding_state", "How a binding stands: 1 for that state, 0 for the others.");
    describe_gauge!("vipkeeper_backoff_seconds", "How long the next try is held back after a failure.");
    describe_gauge!("vipkeeper_claim_term", "Term of this node's claim in Unix milliseconds; 0 without a claim.");
    describe_gauge!(
        "vipkeeper_claim_convergence_seconds",
        "Time from the hook of this node's claim until every binding was here."
    );
    describe_gauge!("vipkeeper_claim_recorded", "Whether this leader's claim is on record as the newest.");
    describe_gauge!(
        "vipkeeper_claims_not_read",
        "Whether this leader cannot tell if its claim is on record, because the claims are not read."
    );
    describe_gauge!("vipkeeper_contested", "Whether somebody keeps taking what this node holds by right.");
    describe_gauge!("vipkeeper_guard_alive", "Whether the watchdog process behind the claim lives.");
    describe_gauge!("vipkeeper_held", "Whether an operator keeps this node from changing anything.");
    describe_gauge!("vipkeeper_held_unserved", "Whether a hold keeps this leader from serving its clients.");
    describe_gauge!(
        "vipkeeper_watchdog_gone",
        "Whether the file says leader, and the watchdog process that said so is gone."
    );
    describe_gauge!("vipkeeper_takeover_obstacles", "Known reasons why a takeover by this node would fail.");
    describe_gauge!("vipkeeper_hook_lost", "Whether the watchdog contradicts the desired-state file.");
    describe_gauge!(
        "vipkeeper_nobody_serves",
        "Whether EC2 leads the clients to nobody for longer than a failover takes."
    );
    describe_gauge!("vipkeeper_vip_answered_by", "The node that answered this node's last probe of the VIP.");
    describe_gauge!("vipkeeper_packets_astray", "Whether packets for the VIP do not arrive where EC2 leads them.");
    describe_gauge!("vipkeeper_desired_invalid", "Whether the desired-state file is not to be read or trusted.");
    describe_gauge!(
        "vipkeeper_last_successful_observation_timestamp_seconds",
        "When the source was last read with success; 0 for never."
    );
    describe_counter!("vipkeeper_log_lines_lost_total", "Lines of the log that could not be written.");
    describe_gauge!("vipkeeper_clock_offset_seconds", "How far this node's clock is ahead of EC2's; negative: behind.");
    describe_gauge!("vipkeeper_clock_max_error_seconds", "The largest error of this node's clock, by the kernel.");
    describe_gauge!("vipkeeper_credentials_expiry_timestamp_seconds", "When the credentials in use stop working.");
}
