//! Planner cases as text: what is wanted, what is seen and what is planned, moment by moment.
//!
//! ```text
//! 100 leader@100                      the hook ran at second 100; the daemon notices it at second 100
//! 101 see elastic_ip=eni-b a=100 b=90 a look that began at second 101: where bindings point, and which claims are on record
//!   => elastic_ip take: associate ...  what is planned then, every binding and the record; nothing else
//! 101 accept                          everything planned is accepted (`accept elastic_ip`: that alone)
//! ```
//!
//! Node `a` is this one. Where a binding points: `here`, `absent`, `?` (not known), or what else it points at
//! (`eni-b`, `eni-b!` for a blackhole, `i-b` where EC2 shows the instance). For a local address: `20.0.0.50/24@eth1` is its form on an interface, with `!` if
//! the kernel would remove a route along with it, with `~` if it is silent; several are divided by commas; `by:lo` is a
//! route to the machine itself. Terms are seconds: `b=90+1` is one millisecond newer than `b=90`; with `b=-90`,
//! node `b` has withdrawn all up to that.
//! `b@rtb-2=90`: node `b`'s tag on another table of the VIP; `@rtb-2=none`: that table carries no claims. `anchor rtb-2`
//! moves the anchor, as a changed config does.
//! `hold 600`: an operator holds the VIP for 600 s; `hold 600 strict`: and no hook ends anything either.
//! `bindings route`: from now on the VIP has these bindings, as if the ids of the others were not known.
//! `claims=none`: the record was read and is empty; `claims=?`: it could not be read. A binding that a look does not name
//! stays as it was last seen.

use std::collections::BTreeMap;
use std::time::Duration;

use vipkeeper::action::Purpose;
use vipkeeper::binding::{
    Account, Anchor, Binding, BindingKey, ClaimMode, Connections, Handover, Kind, Obstacle, OnRelease, Vip,
};
use vipkeeper::claim_tag::WITHDRAWN;
use vipkeeper::decide::Decider;
use vipkeeper::decide::claim::Standing;
use vipkeeper::decide::hold::Hold;
use vipkeeper::decide::memory::Memory;
use vipkeeper::decide::plan::{DriftReason, Plan, State, Subject};
use vipkeeper::desired::hold::Extent;
use vipkeeper::desired::{Claim, Desired, WhyStandby, WhyUnknown};
use vipkeeper::ec2::Class;
use vipkeeper::ids::{ClaimId, InstanceId, Term};
use vipkeeper::machine::kernel::{EntryState, LocalAddress, Presence};
use vipkeeper::observe::cause::FailedRead;
use vipkeeper::observe::seen::{
    Claims, Copies, Holder, Moment, Now, Observed, Seen, Serving, Sight, WhyUnseen, Witness,
};

/// Plays the script on a VIP of these kinds (`elastic_ip`, `route`, `route delete`, `claims off`; see [`vip`]), and
/// compares each plan that it states.
#[track_caller]
pub fn check(kinds: &str, script: &str) {
    let mut stage = Stage::new(kinds);
    let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let planned = stage.play(line);
        let mut wanted = Vec::new();
        while let Some(want) = lines.next_if(|line| line.starts_with("=>")) {
            wanted.push(want.trim_start_matches("=>").trim().to_owned());
        }
        if !wanted.is_empty() {
            let planned: Vec<_> = show(&planned).lines().map(str::to_owned).collect();
            assert_eq!(planned, wanted, "\nafter '{line}' in{script}");
        }
    }
}

/// A VIP of node `a`, with the bindings that `kinds` lists, divided by commas.
pub fn vip(kinds: &str) -> Vip {
    let eni: vipkeeper::ids::EniId = "eni-a".parse().unwrap();
    let destination = "20.0.0.50/32".parse().unwrap();
    let (mut claims, mut handover) = (ClaimMode::Tags, Handover::AtOnce);
    let (mut bindings, mut obstacles) = (BTreeMap::new(), BTreeMap::new());
    let mut anchor = Anchor::ElasticIp("eipalloc-1".parse().unwrap());
    for kind in kinds.split(',').map(str::trim) {
        let (key, binding) = match kind {
            "claims off" => {
                claims = ClaimMode::Off;
                continue;
            }
            "keeps after guard" | "keeps always" => {
                handover = if kind == "keeps always" { Handover::Always } else { Handover::AfterGuard };
                continue;
            }
            "undone" => {
                let (other, of) = (BindingKey::new(Kind::Route, "rtb-9"), "20.0.0.50".parse().unwrap());
                let undone = Obstacle::OwnWrites { other, of };
                obstacles.insert(BindingKey::new(Kind::ElasticIp, "192.0.2.1"), undone);
                continue;
            }
            "shared place" => {
                let (first, private_ip) = ("192.0.2.9".parse().unwrap(), "10.0.0.9".parse().unwrap());
                let shared = Obstacle::SharedPlace { first, eni: eni.clone(), private_ip };
                obstacles.insert(BindingKey::new(Kind::ElasticIp, "192.0.2.1"), shared);
                continue;
            }
            "elastic_ip" => {
                let private_ip = "10.0.0.9".parse().unwrap();
                let allocation = "eipalloc-1".parse().unwrap();
                (
                    (Kind::ElasticIp, "192.0.2.1"),
                    Binding::ElasticIp { allocation, eni: eni.clone(), private_ip, after: None },
                )
            }
            "elastic_ip on secondary_ip" => {
                let after = Some(BindingKey::new(Kind::SecondaryIp, "10.0.0.50"));
                let private_ip = "10.0.0.50".parse().unwrap();
                let allocation = "eipalloc-1".parse().unwrap();
                ((Kind::ElasticIp, "192.0.2.1"), Binding::ElasticIp { allocation, eni: eni.clone(), private_ip, after })
            }
            "route" | "route delete" => {
                let on_release = if kind == "route" { OnRelease::Keep } else { OnRelease::Delete };
                let table: vipkeeper::ids::RouteTableId = "rtb-1".parse().unwrap();
                anchor = Anchor::RouteTable(Account::Own, table.clone());
                (
                    (Kind::Route, "rtb-1"),
                    Binding::Route { account: Account::Own, table, destination, eni: eni.clone(), on_release },
                )
            }
            "secondary_ip" => {
                let address = "10.0.0.50".parse().unwrap();
                ((Kind::SecondaryIp, "10.0.0.50"), Binding::SecondaryIp { eni: eni.clone(), address })
            }
            "local_address" => {
                let address = "20.0.0.50".parse().unwrap();
                (
                    (Kind::LocalAddress, "20.0.0.50"),
                    Binding::LocalAddress { interface: "eth0".to_owned(), address, connections: Connections::Reset },
                )
            }
            "source_dest_check" => ((Kind::SourceDestCheck, "eth0"), Binding::SourceDestCheck { eni: eni.clone() }),
            "unresolved" => {
                bindings.insert(BindingKey::new(Kind::Route, "(by tag)"), None);
                continue;
            }
            other => panic!("no kind of binding: {other}"),
        };
        bindings.insert(BindingKey::new(key.0, key.1), Some(binding));
    }
    Vip {
        delegate_ip: "20.0.0.50".parse().unwrap(),
        instance: node("a"),
        bindings,
        obstacles,
        claims,
        handover,
        anchor: Some(anchor),
    }
}

pub fn table_anchor(table: &str) -> Anchor {
    Anchor::RouteTable(Account::Own, table.parse().unwrap())
}

pub fn node(name: &str) -> InstanceId {
    format!("i-{name}").parse().unwrap()
}

/// The observations of a daemon that has not looked yet.
pub fn unseen(vip: &Vip) -> Observed {
    let unseen = Sight { seen: Seen::Unknown(WhyUnseen::NotRead), at: Moment::ZERO };
    let sights = vip.bindings.keys().map(|key| (key.clone(), unseen.clone())).collect();
    Observed {
        sights,
        local: BTreeMap::new(),
        claims: Claims::Unknown,
        witness: Witness::Silent,
        serving: Serving::default(),
        server_ms: None,
    }
}

struct Stage {
    vip: Vip,
    desired: Desired,
    observed: Observed,
    memory: Memory,
    hold: Option<Hold>,
    plan: Option<Plan>,
    associations: u32,
}

impl Stage {
    fn new(kinds: &str) -> Self {
        let vip = vip(kinds);
        let observed = unseen(&vip);
        Self {
            vip,
            desired: Desired::Unknown(WhyUnknown::NoFile),
            observed,
            memory: Memory::default(),
            hold: None,
            plan: None,
            associations: 0,
        }
    }

    /// Lets one thing happen, and plans anew as the loop does after everything that happens.
    fn play(&mut self, line: &str) -> Plan {
        let (at, event) = line.split_once(' ').unwrap_or((line, ""));
        let now = Duration::from_secs_f64(at.parse().unwrap_or_else(|_| panic!("no time: {line}")));
        let wall_ms = u64::try_from(now.as_millis()).unwrap();
        match event.split_once(' ').unwrap_or((event, "")) {
            ("", _) => {}
            ("standby", _) => {
                self.desired = Desired::Standby(WhyStandby::Down);
                self.hold.iter_mut().for_each(|hold| hold.hook_came_since = true);
            }
            ("hold", how) => {
                let (seconds, extent) = how.split_once(' ').unwrap_or((how, ""));
                let until = now + Duration::from_secs(seconds.parse().unwrap());
                let extent = if extent == "strict" { Extent::Everything } else { Extent::ExceptRelease };
                self.hold = Some(Hold { until, extent, hook_came_since: false });
            }
            ("guard-dead", _) => self.desired = Desired::Standby(WhyStandby::GuardDead),
            ("unknown", _) => self.desired = Desired::Unknown(WhyUnknown::Invalid),
            ("see", what) => self.see(what, now),
            ("anchor", table) => {
                self.vip.anchor = Some(table_anchor(table));
                self.observed.claims = Claims::Unknown;
            }
            ("bindings", kinds) => self.vip.bindings = vip(kinds).bindings,
            ("claims-off", _) => self.vip.claims = ClaimMode::Off,
            ("accept", only) => self.accept(only, now),
            ("restart", _) => {
                let persisted = self.memory.to_persist();
                self.memory = persisted.map(|it| Memory::restore(it, now, wall_ms)).unwrap_or_default();
                self.observed = unseen(&self.vip);
            }
            ("forgetful-restart", _) => {
                self.memory = Memory::of_nothing(now);
                self.observed = unseen(&self.vip);
            }
            ("witness", word) => {
                self.observed.witness = match word {
                    "escalated" => Witness::Escalated,
                    "not-escalated" => Witness::NotEscalated,
                    "unheard" => Witness::Unheard,
                    other => panic!("no witness: {other}"),
                }
            }
            (word, _) => {
                let started = word.strip_prefix("leader@").unwrap_or_else(|| panic!("no event: {line}"));
                let started_at = Some(Duration::from_millis(term(started).0));
                let claim = Claim { id: ClaimId::new(started), started_ms: term(started).0, started_at };
                self.desired = Desired::Leader(claim);
            }
        }
        self.observed.server_ms = Some(wall_ms);
        let mut decider = Decider::default();
        (decider.memory, decider.hold) = (std::mem::take(&mut self.memory), self.hold.clone());
        let planned = decider.decide(&self.vip, &self.desired, &mut self.observed, Now { at: now, wall_ms });
        self.memory = decider.memory;
        agrees_with_itself(&planned);
        self.plan = Some(planned.clone());
        planned
    }

    fn see(&mut self, what: &str, at: Moment) {
        let (mut terms, mut withdrawn) = (BTreeMap::new(), BTreeMap::new());
        let mut elsewhere: BTreeMap<Anchor, Copies> = BTreeMap::new();
        let mut read = false;
        for (name, value) in what.split_whitespace().map(|it| it.split_once('=').unwrap()) {
            if name == "claims" {
                read |= value == "none";
                self.observed.claims = Claims::Unknown;
            } else if let Some((name, table)) = name.split_once('@') {
                read = true;
                let copies = elsewhere.entry(table_anchor(table)).or_insert(Copies { at, ..Copies::default() });
                if name.len() == 1 {
                    let given_up = value.strip_prefix('-').map(term);
                    copies.withdrawn.extend(given_up.map(|term| (node(name), term)));
                    copies.terms.insert(node(name), given_up.map_or_else(|| term(value), |_| WITHDRAWN));
                }
            } else if name.len() == 1 {
                read = true;
                let given_up = value.strip_prefix('-').map(term);
                withdrawn.extend(given_up.map(|term| (node(name), term)));
                terms.insert(node(name), given_up.map_or_else(|| term(value), |_| WITHDRAWN));
            } else {
                let mut found = false;
                let keys: Vec<_> = self.vip.bindings.keys().filter(|key| key.kind.name() == name).cloned().collect();
                for key in keys {
                    found = true;
                    if key.kind == Kind::LocalAddress {
                        self.observed.local.insert(key.target.parse().unwrap(), presence(value));
                    }
                    self.observed.sights.insert(key, Sight { seen: seen(value), at });
                }
                assert!(found, "no binding of this kind: {name}");
            }
        }
        if read {
            let (implausible, edited) = (BTreeMap::new(), BTreeMap::new());
            self.observed.claims = Claims::Read { terms, withdrawn, implausible, edited, at, elsewhere };
        }
    }

    fn accept(&mut self, only: &str, now: Moment) {
        let plan = self.plan.take().expect("nothing was planned yet");
        let claim = match &self.desired {
            Desired::Leader(claim) => Some(claim.id.clone()),
            Desired::Standby(_) | Desired::Unknown(_) => None,
        };
        for (key, verdict) in &plan.bindings {
            let Some(change) = verdict.change.as_ref().filter(|_| only.is_empty() || only == key.kind.name()) else {
                continue;
            };
            self.associations += 1;
            let association = (key.kind == Kind::ElasticIp && change.purpose != Purpose::Release)
                .then(|| format!("eipassoc-{}", self.associations).parse().unwrap());
            self.memory.note_accepted(key, change.purpose, claim.as_ref(), association, now);
        }
        if only.is_empty() || only == "record" {
            if let Some((term, _)) = plan.record {
                self.memory.record_claim(term, now);
            }
            for (resource, (term, _)) in plan.copies {
                self.memory.copy_claim(resource, term, now);
            }
        }
        if plan.forget.is_some() && (only.is_empty() || only == "forget") {
            self.memory.forgot_at = Some(now);
        }
    }
}

/// Checks what holds for every plan, whatever the script.
fn agrees_with_itself(plan: &Plan) {
    let changes: Vec<_> = plan.changes().collect();
    assert_eq!(plan.is_empty(), changes.is_empty(), "{plan:?}");
    for change in changes {
        let subject = change.subject();
        assert_eq!(plan.action(&subject), Some(change.action()), "{plan:?}");
        let purpose = change.key().and_then(|key| plan.bindings[key].change.as_ref()).map(|change| change.purpose);
        let records = change.key().is_none() && subject != Subject::OldClaim;
        assert_eq!(change.is_take(), records || purpose == Some(Purpose::Take), "{change:?}");
        assert_eq!(change.is_release(), purpose == Some(Purpose::Release), "{change:?}");
        let is_local = change.key().is_some_and(|key| key.kind == Kind::LocalAddress);
        assert_eq!(subject.is_local(), is_local, "{change:?}");
    }
    for (key, verdict) in &plan.bindings {
        let is_blocked = verdict.state == State::Blocked;
        assert!(!is_blocked || verdict.why.blocker().is_some(), "{key} does not tell what blocks it: {verdict:?}");
        let has_metric = verdict.drift.is_none_or(|reason| DriftReason::of(key.kind).contains(&reason));
        assert!(has_metric, "{key} drifts for a reason that has no metric from the start: {verdict:?}");
    }
}

fn term(text: &str) -> Term {
    let (seconds, more) = text.split_once('+').unwrap_or((text, "0"));
    let seconds: f64 = seconds.parse().unwrap_or_else(|_| panic!("no term: {text}"));
    Term(u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap() + more.parse::<u64>().unwrap())
}

/// The look at the kernel behind the sight of a local address.
fn presence(text: &str) -> Presence {
    if let Some(device) = text.strip_prefix("by:") {
        return Presence { route: Some(format!("local 20.0.0.0/24 dev {device}")), ..Presence::default() };
    }
    let entries = text.split(',').filter_map(|text| {
        let (form, interface) = text.trim_end_matches(['!', '~']).split_once('@')?;
        let (address, prefix) = form.split_once('/')?;
        let (address, prefix) = (address.parse().unwrap(), prefix.parse().unwrap());
        let kept = text.ends_with('!').then(|| "the kernel would remove the route default along with it".to_owned());
        let entry = LocalAddress { interface: interface.to_owned(), address, prefix };
        Some((entry, EntryState { silent: text.ends_with('~'), kept }))
    });
    Presence { entries: entries.collect(), route: None }
}

fn seen(text: &str) -> Seen {
    match text {
        form if form.starts_with("by:") || form.contains('@') => Seen::Here { association: None },
        "here" => Seen::Here { association: None },
        "absent" => Seen::Absent,
        "?" => Seen::Unknown(WhyUnseen::ReadFailed(Box::new(FailedRead::of_class(Class::Transient, "no answer")))),
        other => match (other.strip_prefix("here:"), other.strip_suffix('!')) {
            (Some(association), _) => {
                Seen::Here { association: Some(format!("eipassoc-{association}").parse().unwrap()) }
            }
            (None, Some(name)) => Seen::Elsewhere(Holder { name: name.to_owned(), instance: None, blackhole: true }),
            (None, None) => {
                let instance = other.starts_with("i-").then(|| other.parse().unwrap());
                Seen::Elsewhere(Holder { name: other.to_owned(), instance, blackhole: false })
            }
        },
    }
}

/// A plan as the scripts state it. A record on another resource than the anchor names that resource.
fn show(plan: &Plan) -> String {
    let mut lines = Vec::new();
    match &plan.standing {
        Standing::Superseded(by) => lines.push(format!("superseded by {} {}", by.node, show_term(by.term))),
        Standing::Unknown | Standing::Standby | Standing::Leader => {}
    }
    for (key, verdict) in &plan.bindings {
        let drift = verdict.drift.map(|reason| format!(" [{}]", reason.name())).unwrap_or_default();
        let text = match &verdict.change {
            Some(change) => format!("{}{drift}: {}", format!("{:?}", change.purpose).to_lowercase(), change.action),
            None => format!("{}{drift}: {}", verdict.state.name(), verdict.why),
        };
        lines.push(format!("{} {text}", key.kind));
    }
    if let Some((term, _)) = &plan.record {
        lines.push(format!("record {}", show_term(*term)));
    }
    let copies = plan.copies.iter();
    lines.extend(copies.map(|(on, (term, _))| format!("record {} on {}", show_term(*term), on.resource())));
    lines.extend(plan.forget.iter().map(ToString::to_string));
    if let Some(at) = plan.look_at {
        lines.push(format!("look at {}", at.as_secs_f64()));
    }
    lines.join("\n")
}

fn show_term(term: Term) -> String {
    let (seconds, more) = (term.0 / 1000, term.0 % 1000);
    if more == 0 { seconds.to_string() } else { format!("{seconds}+{more}") }
}
