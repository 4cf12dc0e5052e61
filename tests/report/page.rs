//! The page for people, whole, as golden files; and what it comes to for scripts.

use vipkeeper::binding::Kind;
use vipkeeper::decide::claim::Rival;
use vipkeeper::decide::plan::{Blocker, State};
use vipkeeper::ec2::Class;
use vipkeeper::ids::Term;
use vipkeeper::machine::hindrance::Hindrance;
use vipkeeper::problem::ProblemReason;
use vipkeeper::status::ConditionReason;
use vipkeeper::status::clients::in_words;
use vipkeeper::status::document::StatusDocument;
use vipkeeper::status::event::list::EventList;
use vipkeeper::status::event::stamp::Stamp;
use vipkeeper::status::event::{EventKind, NodeEvent};
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};
use vipkeeper::status::{
    ClientsAt, ClientsStatus, ClockStatus, Condition, ConditionName, ConnectionsStatus, DesiredRole, Problem,
    SourceStatus, Status, VipStatus,
};

use super::events::winner;
use super::golden;
use super::statuses::{
    NOW_MS, ago, binding, cause, clients, condition, denied, fresh, leader, standby, status, unread_claims, unrecorded,
    unseen,
};

const TERMINAL: Style = Style { width: Some(100), colour: false };
const PIPE: Style = Style { width: None, colour: false };

fn check(name: &str, status: &Status, daemon: DaemonLife, style: Style, verdict: Overall) {
    golden::check(name, &page(status, daemon, NOW_MS, style));
    assert_eq!(Overall::of(status, daemon, NOW_MS), verdict);
}

#[test]
fn in_sync_is_one_line_and_its_details() {
    let mut other = standby();
    other.delegate_ip = "20.0.0.51".parse().unwrap();
    check("page-in-sync.txt", &status(vec![leader(), other]), DaemonLife::Alive, TERMINAL, Overall::InSync);
}

#[test]
fn the_last_events_and_the_claims_of_other_nodes_are_told_in_a_line_each() {
    let mut vip = leader();
    vip.other_claims = vec![
        Rival { node: "i-0def".parse().unwrap(), term: Term(ago(4_000)) },
        Rival { node: "i-0fed".parse().unwrap(), term: Term(ago(90_000)) },
    ];
    let mut other = standby();
    other.delegate_ip = "20.0.0.51".parse().unwrap();
    other.other_claims = vec![Rival { node: "i-0def".parse().unwrap(), term: Term(ago(90)) }];
    let status = status(vec![vip, other]);
    let events = winner();
    let document = StatusDocument { status: &status, events: &events };
    golden::check("page-events.txt", &page(document, DaemonLife::Alive, NOW_MS, TERMINAL));
}

#[test]
fn an_event_that_happened_again_stands_before_those_that_happened_meanwhile() {
    let vip = leader().delegate_ip;
    let at = |seconds| Stamp { wall_ms: ago(seconds), boot_ms: None };
    let mut events = EventList::default();
    let refused = || NodeEvent { code: Some("no".to_owned()), ..NodeEvent::new(EventKind::ChangeFailed, "refused") };
    events.keep(refused().of_vip(vip), at(60));
    for name in ["a", "b", "c", "d", "e"] {
        events.keep(NodeEvent::new(EventKind::Obstacle, name).about(name).of_vip(vip), at(50));
    }
    events.keep(refused().of_vip(vip), at(5));
    let status = status(vec![leader()]);
    let text = page(StatusDocument { status: &status, events: &events }, DaemonLife::Alive, NOW_MS, PIPE);
    let shown: Vec<_> = text.lines().skip_while(|line| !line.starts_with("  LAST EVENTS")).skip(1).take(5).collect();
    assert!(shown[0].starts_with("  5 s ago ") && shown[0].ends_with("refused (2 times): no"), "{text}");
    assert!(shown[1].ends_with(" e") && shown[3].ends_with(" c") && shown[4].is_empty(), "{text}");
    assert!(!text.contains("EVENTS OF THE NODE"), "{text}");
}

#[test]
fn a_standby_whose_file_says_leader_is_told_why_and_is_not_good() {
    let mut vip = standby();
    let reason = "the file says leader, but the Pgpool watchdog process that said so is gone";
    vip.desired.reason = Some(reason.to_owned());
    vip.desired.guard_alive = Some(false);
    let status = status(vec![vip]);
    let text = page(&status, DaemonLife::Alive, NOW_MS, PIPE);
    assert!(
        text.contains("WATCHDOG GONE") && text.contains(reason) && text.contains("vipkeeper down 20.0.0.50"),
        "{text}"
    );
    assert_eq!(Overall::of(&status, DaemonLife::Alive, NOW_MS), Overall::Attention);
    // Pgpool runs again, and its watchdog says the same as the node does.
    let mut again = status;
    again.vips[0].desired.watchdog_leads = Some(false);
    let text = page(&again, DaemonLife::Alive, NOW_MS, PIPE);
    assert!(text.contains("standby  IN SYNC") && !text.contains("gone"), "{text}");
    assert_eq!(Overall::of(&again, DaemonLife::Alive, NOW_MS), Overall::InSync);
}

#[test]
fn a_leader_whose_watchdog_process_cannot_be_seen_says_so() {
    let mut vip = leader();
    vip.desired.guard_alive = None;
    vip.desired.reason = Some("its death goes unnoticed".to_owned());
    let text = page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE);
    assert!(text.contains("IN SYNC") && text.contains("its death goes unnoticed"), "{text}");
}

#[test]
fn a_clock_is_shown_only_where_it_is_off_or_may_be_by_a_second() {
    let shown = |ahead_ms, synchronized, max_error_ms| {
        let error_ms = Some(90);
        let clock = Some(ClockStatus { ahead_ms, error_ms, synchronized, max_error_ms });
        let text = page(&Status { clock, ..status(vec![leader()]) }, DaemonLife::Alive, NOW_MS, PIPE);
        text.lines().find_map(|line| line.strip_prefix("clock    this node's clock is ")).map(str::to_owned)
    };
    for (ahead_ms, synchronized, max_error_ms) in [
        (None, None, None),
        (None, Some(true), Some(40)),
        (Some(1_089), Some(true), Some(40)),
        (Some(-1_089), None, None),
        // The kernel alone does not count the clock as synchronised.
        (None, Some(false), Some(999)),
        (Some(-200), Some(false), Some(40)),
        (Some(-200), Some(false), None),
    ] {
        assert_eq!(shown(ahead_ms, synchronized, max_error_ms), None, "{ahead_ms:?} {synchronized:?} {max_error_ms:?}");
    }
    for (ahead_ms, synchronized, max_error_ms, wanted) in [
        (Some(1_090), Some(true), Some(40), "1.0 s ahead of EC2's (give or take 0.1 s)"),
        (Some(-1_090), None, None, "1.0 s behind EC2's (give or take 0.1 s)"),
        (Some(-2_000), Some(false), Some(40), "not synchronised, and 2.0 s behind EC2's (give or take 0.1 s)"),
        (None, Some(false), Some(16_000), "not synchronised; up to 16.0 s off, by the kernel's own judgement"),
        (Some(10), Some(true), Some(1_000), "up to 1.0 s off, by the kernel's own judgement"),
    ] {
        assert_eq!(shown(ahead_ms, synchronized, max_error_ms).as_deref(), Some(wanted));
    }
}

#[test]
fn a_missing_permission_says_which_one() {
    let status = status(vec![denied()]);
    check("page-denied.txt", &status, DaemonLife::Alive, TERMINAL, Overall::Attention);
    check("page-denied-pipe.txt", &status, DaemonLife::Alive, PIPE, Overall::Attention);
    let narrow = Style { width: Some(60), colour: true };
    check("page-denied-narrow-colour.txt", &status, DaemonLife::Alive, narrow, Overall::Attention);
}

#[test]
fn a_witness_that_is_not_for_this_user_is_told_and_one_that_is_not_there_is_not() {
    let shown = |reason: ConditionReason| {
        let mut vip = leader();
        let witness = condition(ConditionName::Witness, false, "the socket is not for this user: give UMask=0002", 60);
        vip.conditions.push(Condition { reason: reason.into(), ..witness });
        page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, TERMINAL).contains("UMask=0002")
    };
    assert!(shown(ConditionReason::NotPermitted) && shown(ConditionReason::Unheard));
    assert!(!shown(ConditionReason::NoSocket) && !shown(ConditionReason::NotRunning) && !shown(ConditionReason::Off));
}

#[test]
fn a_dead_daemon_and_a_stuck_one_are_told_before_anything_else() {
    let mut status = status(vec![standby()]);
    check("page-gone.txt", &status, DaemonLife::Gone, TERMINAL, Overall::Stale);
    status.written_ms = ago(40);
    check("page-stuck.txt", &status, DaemonLife::Alive, TERMINAL, Overall::Stale);
    let hindrances = [
        Hindrance::Stopped,
        Hindrance::InKernel,
        Hindrance::NoRoom(12_288),
        Hindrance::NoFiles,
        Hindrance::ReadOnly,
        Hindrance::NotWritable(988),
        Hindrance::NoFolder,
    ];
    let mut all = String::new();
    for hindrance in hindrances {
        let text = page(&status, DaemonLife::Hindered(hindrance), NOW_MS, TERMINAL);
        all += text.split("\n\n").next().unwrap();
        all += "\n\n";
    }
    golden::check("page-stuck-because.txt", &all);
    status.written_ms = ago(1);
    let well = page(&status, DaemonLife::Hindered(Hindrance::InKernel), NOW_MS, PIPE);
    assert!(!well.contains("STUCK") && !well.contains("kernel"), "a status that is not old needs no reason: {well}");
}

#[test]
fn what_no_binding_shows_comes_first() {
    let mut unknown = fresh();
    unknown.in_sync = false;
    let detail = "points here, but no hook has said who leads: left alone";
    unknown.conditions[0] = condition(ConditionName::InSync, false, &format!("route rtb-012345abcd: {detail}"), 90);
    unknown.bindings = vec![binding(Kind::Route, "rtb-012345abcd", State::Blocked, detail)];
    unknown.bindings[0].blocked_by = Some(Blocker::NoHook.into());
    let mut contested = denied();
    contested.delegate_ip = "20.0.0.51".parse().unwrap();
    contested.conditions.push(condition(ConditionName::Contested, true, "taken by eni-0c3 for the third time", 61));
    contested.conditions.remove(3);
    let mut superseded = standby();
    superseded.delegate_ip = "20.0.0.52".parse().unwrap();
    superseded.desired.role = DesiredRole::Leader.into();
    superseded.conditions.push(condition(ConditionName::Superseded, true, "i-0def claimed it 88 s ago", 88));
    let mut lost = standby();
    lost.delegate_ip = "20.0.0.53".parse().unwrap();
    lost.conditions.push(condition(
        ConditionName::HookLost,
        true,
        "Pgpool's watchdog is escalated, the file says standby",
        12,
    ));
    let mut invalid = leader();
    invalid.delegate_ip = "20.0.0.54".parse().unwrap();
    invalid.conditions[1] = condition(ConditionName::DesiredValid, false, "owned by user 1000, who is not trusted", 5);
    let mut converging = leader();
    converging.delegate_ip = "20.0.0.55".parse().unwrap();
    converging.in_sync = false;
    converging.claim.as_mut().unwrap().converged_ms = None;
    converging.conditions[0] = condition(ConditionName::InSync, false, "written, not seen yet", 1);

    let mut status = status(vec![unknown, contested, superseded, lost, invalid, converging]);
    status.sources[1].last_success_ms = None;
    status.sources[1].error = Some("DescribeRouteTables: no answer within 3 s".to_owned());
    status.problems.push(Problem {
        reason: ProblemReason::Listen.into(),
        message: "cannot listen on 127.0.0.1:9813: address in use".to_owned(),
        since_ms: ago(11_500),
        times: 1,
    });
    check("page-alerts.txt", &status, DaemonLife::Alive, TERMINAL, Overall::Attention);
}

#[test]
fn a_node_that_has_not_led_since_boot_is_as_it_should_be() {
    check("page-fresh.txt", &status(vec![fresh()]), DaemonLife::Alive, TERMINAL, Overall::InSync);
}

#[test]
fn a_fresh_node_that_cannot_read_says_why_and_not_that_pgpool_is_missing() {
    let mut vip = fresh();
    vip.in_sync = false;
    vip.bindings[0].state = State::Unknown.into();
    vip.bindings[0].detail = "the read failed: DescribeRouteTables: UnauthorizedOperation: You may not".to_owned();
    vip.bindings[0].unseen = Some(unseen(Class::Denied, cause("DescribeRouteTables", "UnauthorizedOperation")));
    let in_sync = condition(ConditionName::InSync, false, "route rtb-012345abcd: the read failed", 90);
    vip.conditions[0] = Condition { reason: ConditionReason::NotRead.into(), ..in_sync };
    let status = status(vec![vip]);
    assert_eq!(Overall::of(&status, DaemonLife::Alive, NOW_MS), Overall::Attention);
    let page = page(&status, DaemonLife::Alive, NOW_MS, PIPE);
    assert!(page.contains("do    allow ec2:DescribeRouteTables") && !page.contains("start Pgpool"), "{page}");
}

#[test]
fn a_leader_whose_claim_cannot_be_recorded_is_not_well() {
    check("page-unrecorded.txt", &status(vec![unrecorded()]), DaemonLife::Alive, TERMINAL, Overall::Attention);
    let mut denied = denied();
    denied.claim = unrecorded().claim;
    denied.conditions[2] = unrecorded().conditions[2].clone();
    let shown = page(&status(vec![denied]), DaemonLife::Alive, NOW_MS, PIPE);
    assert!(shown.contains("leader  BLOCKED"), "what is not in place comes first: {shown}");
    let mut superseded = unrecorded();
    superseded.conditions.push(condition(ConditionName::Superseded, true, "i-0def claimed it 88 s ago", 88));
    assert_eq!(
        Overall::of(&status(vec![superseded]), DaemonLife::Alive, NOW_MS),
        Overall::InSync,
        "it needs no record"
    );
}

#[test]
fn a_superseded_leader_that_cannot_see_the_newer_claim_end_is_not_well() {
    let message = "i-0def held the newer claim 7 on rtb-0f00, which the configuration does not name any more";
    let superseded = |reason: ConditionReason| {
        let mut vip = standby();
        vip.desired.role = DesiredRole::Leader.into();
        let condition = condition(ConditionName::Superseded, true, message, 88);
        vip.conditions.push(Condition { reason: reason.into(), ..condition });
        let status = status(vec![vip]);
        (page(&status, DaemonLife::Alive, NOW_MS, PIPE), Overall::of(&status, DaemonLife::Alive, NOW_MS))
    };
    let (text, verdict) = superseded(ConditionReason::OutOfSight);
    assert!(text.contains("CLAIM OUT OF SIGHT  for 1 min 28 s\n") && text.contains(message), "{text}");
    assert!(text.contains("  do    name that resource again in the configuration; or, if "), "{text}");
    assert_eq!(verdict, Overall::Attention);
    let (text, verdict) = superseded(ConditionReason::NewerClaim);
    assert!(!text.contains("CLAIM OUT OF SIGHT") && verdict == Overall::InSync, "{text}");
}

#[test]
fn a_node_whose_probes_do_not_arrive_where_ec2_leads_is_not_well() {
    let message = "EC2 leads the clients to i-0def, and nobody answers";
    let probed = |mut vip: VipStatus, arrive: bool| {
        vip.conditions.push(condition(ConditionName::PacketsArrive, arrive, message, 88));
        let status = status(vec![vip]);
        (page(&status, DaemonLife::Alive, NOW_MS, PIPE), Overall::of(&status, DaemonLife::Alive, NOW_MS))
    };
    // A node on which no hook has run yet says that all is well, if all is.
    for vip in [standby(), fresh()] {
        let (text, verdict) = probed(vip.clone(), false);
        assert!(text.contains("PACKETS ASTRAY  for 1 min 28 s") && text.contains(message), "{text}");
        assert!(text.contains(&format!("'vipkeeper probe {}'", vip.delegate_ip)), "{text}");
        assert_eq!(verdict, Overall::Attention);
        let (text, verdict) = probed(vip, true);
        assert!(!text.contains("ASTRAY") && verdict == Overall::InSync, "{text}");
    }
}

#[test]
fn a_leader_that_cannot_read_the_claims_is_not_well() {
    check("page-unread-claims.txt", &status(vec![unread_claims()]), DaemonLife::Alive, TERMINAL, Overall::Attention);
    let mut not_yet = unread_claims();
    not_yet.conditions[2].reason = ConditionReason::NotReadYet.into();
    let verdict = Overall::of(&status(vec![not_yet]), DaemonLife::Alive, NOW_MS);
    assert_eq!(verdict, Overall::InSync, "a claim that has only just begun is read in a moment");
    let mut superseded = unread_claims();
    superseded.conditions.push(condition(ConditionName::Superseded, true, "i-0def claimed it 88 s ago", 88));
    assert_eq!(Overall::of(&status(vec![superseded]), DaemonLife::Alive, NOW_MS), Overall::InSync);
}

#[test]
fn what_waits_for_people_says_what_they_can_do() {
    let shown = |mut vip: VipStatus, blocked_by: Blocker| {
        vip.in_sync = false;
        vip.bindings[1] = binding(Kind::Route, "rtb-67890abcd", State::Blocked, "points at eni-0b2, and so on");
        vip.bindings[1].blocked_by = Some(blocked_by.into());
        vip.conditions[0] = condition(ConditionName::InSync, false, "1 of 4", 42);
        page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE)
    };
    for (vip, blocked_by, wanted) in [
        (unrecorded(), Blocker::NoRecord, "  do    let it record its claim (CreateTags: TagLimitExceeded: "),
        (unrecorded(), Blocker::NoRecord, "the anchor has 50 tags: remove some"),
        (
            unread_claims(),
            Blocker::NoRecord,
            "  do    let it read the claims (the anchor's tags: the read failed: DescribeTags: ",
        ),
        (leader(), Blocker::NoRecord, "make a fresh claim, as the hook's user: 'vipkeeper up 20.0.0.50'"),
        (leader(), Blocker::NotEscalated, "  do    see who leads: 'pcp_watchdog_info'"),
        (leader(), Blocker::Held, "  do    'vipkeeper resume 20.0.0.50' as the hook's user ends the hold"),
        (leader(), Blocker::Unheard, "  do    see whether Pgpool hangs"),
        (leader(), Blocker::Conflict, "  do    give each of the two a place of its own in the config of all nodes"),
        (
            standby(),
            Blocker::Kernel,
            "  do    remove by hand what it names ('ip address del ...' or 'ip route del ...')",
        ),
    ] {
        let page = shown(vip, blocked_by);
        assert!(page.contains("BLOCKED") && page.contains(wanted), "{blocked_by}: {page}");
    }
}

#[test]
fn a_hold_stands_above_everything_and_asks_for_attention() {
    let message = "an operator holds it: this node changes nothing until 2027-01-15T08:30:00Z";
    let mut vip = denied();
    vip.conditions.push(condition(ConditionName::Held, true, message, 60));
    let held = page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE);
    assert!(held.contains("20.0.0.50  leader  HELD  for 1 min\n") && held.contains(message), "{held}");
    assert!(held.contains("  do    'vipkeeper resume 20.0.0.50'"), "{held}");
    let mut vip = leader();
    vip.conditions.push(condition(ConditionName::Held, true, message, 60));
    assert_eq!(Overall::of(&status(vec![vip]), DaemonLife::Alive, NOW_MS), Overall::Attention);
    // A hold for which clients are not served.
    let mut vip = leader();
    let message = "clients are not served because of the hold: this node leads, and EC2 leads the clients to no node";
    let unserved = condition(ConditionName::Held, true, message, 60);
    vip.conditions.push(Condition { reason: ConditionReason::Unserved.into(), ..unserved });
    let text = page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE);
    assert!(text.contains("20.0.0.50  leader  HELD UNSERVED  for 1 min\n") && text.contains(message), "{text}");
    assert!(text.contains("  do    'vipkeeper resume 20.0.0.50' as the hook's user, on this node first"), "{text}");
    // A hold that does not count.
    let mut vip = leader();
    let unused =
        Condition { reason: ConditionReason::NotUsed.into(), ..condition(ConditionName::Held, false, "its owner", 60) };
    vip.conditions.push(unused);
    assert_eq!(Overall::of(&status(vec![vip]), DaemonLife::Alive, NOW_MS), Overall::Attention);
}

#[test]
fn an_ec2_that_cannot_be_reached_is_looked_for_in_the_network() {
    let mut vip = leader();
    vip.in_sync = false;
    let detail = "the read failed: DescribeRouteTables: no connection to ec2.example: Connection refused";
    for route in [1, 2] {
        vip.bindings[route] = binding(Kind::Route, "rtb-67890abcd", State::Unknown, detail);
        vip.bindings[route].read_error_class = Some(Class::Transient.into());
    }
    let page = page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE);
    assert!(
        page.contains("  do    it is tried again by itself; if it lasts, see whether EC2 can be reached"),
        "{page}"
    );
}

#[test]
fn each_account_has_a_line_of_its_own() {
    let mut status = status(vec![leader()]);
    let shared = SourceStatus {
        part: Some("arn:aws:iam::123456789012:role/shared".to_owned()),
        last_success_ms: None,
        error: Some("DescribeRouteTables: UnauthorizedOperation".to_owned()),
        ..status.sources[1].clone()
    };
    status.sources.insert(2, shared);
    let page = page(&status, DaemonLife::Alive, NOW_MS, PIPE);
    let line = |start: &str| page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{page}"));
    assert!(line("route_tables  ").ends_with("  3 s ago    -"), "{page}");
    assert!(line("route_tables of 123456789012:role/shared  never  ").ends_with("UnauthorizedOperation"), "{page}");
}

#[test]
fn a_problem_of_the_daemon_alone_wants_attention() {
    let mut status = status(vec![leader()]);
    assert_eq!(Overall::of(&status, DaemonLife::Alive, NOW_MS), Overall::InSync);
    status.problems.push(Problem {
        reason: ProblemReason::Listen.into(),
        message: "in use".to_owned(),
        since_ms: ago(1),
        times: 1,
    });
    assert_eq!(Overall::of(&status, DaemonLife::Alive, NOW_MS), Overall::Attention);
}

#[test]
fn connections_that_were_reset_are_counted_and_the_reason_for_those_left_is_told() {
    let mut vip = standby();
    assert!(!page(&status(vec![vip.clone()]), DaemonLife::Alive, NOW_MS, PIPE).contains("connections"));
    vip.connections = Some(ConnectionsStatus { reset: 12, at_ms: ago(90), left: Some("no time".to_owned()) });
    let text = page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE);
    let wanted = "connections  12 reset since the daemon started, last 1 min 30 s ago; some may be left: no time";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn text_from_elsewhere_cannot_command_the_terminal() {
    let mut vip = denied();
    vip.bindings[1].last_error.as_mut().unwrap().message = "ReplaceRoute: \x1b]0;owned\x07\x1b[2J\nnext".to_owned();
    vip.bindings[1].detail = "points at\x1b[31m eni".to_owned();
    let page = page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, TERMINAL);
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
}

#[test]
fn each_vip_begins_with_the_place_to_which_its_clients_are_led_as_far_as_it_was_read() {
    let said = |clients: ClientsStatus, in_sync| {
        in_words(&VipStatus { in_sync, clients: Some(clients), ..leader() }, NOW_MS).unwrap()
    };
    let at = |at, instance| clients(at, instance);
    let old = |at, instance, seconds| ClientsStatus { read_ms: Some(ago(seconds)), ..clients(at, instance) };
    let failed = |at, instance| ClientsStatus { current: false, ..old(at, instance, 48) };
    let gone = |vip: ClientsStatus| ClientsStatus { leads: Some(false), ..vip };
    let nobody = ClientsStatus { nobody_since_ms: Some(ago(120)), ..at(ClientsAt::Nowhere, None) };
    for (clients, in_sync, wanted) in [
        (at(ClientsAt::Here, None), true, "at this node, in sync"),
        (at(ClientsAt::Here, None), false, "at this node, not in sync"),
        (old(ClientsAt::Here, None, 48), true, "at this node, in sync (last read 48 s ago)"),
        (gone(at(ClientsAt::Here, None)), true, "at this node, which does not lead"),
        (at(ClientsAt::Elsewhere, Some("i-0def")), true, "at i-0def (last read 3 s ago)"),
        (
            gone(old(ClientsAt::Elsewhere, Some("i-0def"), 12)),
            true,
            "at i-0def, which gave up its claim (last read 12 s ago)",
        ),
        (at(ClientsAt::Nowhere, None), true, "at no node, and no node is known to have led (last read 3 s ago)"),
        (nobody, true, "at no node for 2 min (last read 3 s ago)"),
        (at(ClientsAt::Several, None), false, "at several places: see the table (last read 3 s ago)"),
        (failed(ClientsAt::Elsewhere, Some("i-0def")), false, "last known at i-0def 48 s ago (EC2 is not read)"),
        (failed(ClientsAt::Here, None), false, "last known at this node 48 s ago (EC2 is not read)"),
        (ClientsStatus::unknown(), false, "not known: no read has shown it since the daemon started"),
    ] {
        assert_eq!(said(clients, in_sync), wanted);
    }
    let unnamed = ClientsStatus { instance: None, ..at(ClientsAt::Elsewhere, Some("i-0def")) };
    assert_eq!(said(unnamed, true), "at eni-0b2 (last read 3 s ago)");
}

#[test]
fn that_nobody_serves_is_said_with_the_doubt_that_a_route_leaves_which_stayed() {
    let shown = |clients: ClientsStatus| {
        let clients = ClientsStatus { nobody_since_ms: Some(ago(40)), nobody_serves: true, ..clients };
        page(&status(vec![VipStatus { clients: Some(clients), ..standby() }]), DaemonLife::Alive, NOW_MS, PIPE)
    };
    let gone = ClientsStatus { leads: Some(false), ..clients(ClientsAt::Elsewhere, Some("i-0def")) };
    for (clients, doubts) in [(gone, true), (clients(ClientsAt::Nowhere, None), false)] {
        let text = shown(clients);
        assert!(text.contains("NOBODY SERVES"), "{text}");
        assert_eq!(text.contains("i-0def gave up its claim; if it leads again"), doubts, "{text}");
        assert_eq!(text.contains("CLAIM NOT RECORDED"), doubts, "{text}");
    }
}

#[test]
fn an_error_stands_whole_once_on_a_page_and_a_record_that_is_not_read_is_not_called_missing() {
    let read = "DescribeTags: UnauthorizedOperation: You may not.";
    for (vip, error) in [
        (denied(), "ReplaceRoute: UnauthorizedOperation: You are not authorized"),
        (unrecorded(), "CreateTags: TagLimitExceeded: You have reached"),
        (unread_claims(), read),
    ] {
        let mut status = status(vec![vip]);
        if error == read {
            status.sources[1].error = Some(read.to_owned());
        }
        let text = page(&status, DaemonLife::Alive, NOW_MS, PIPE);
        assert_eq!(text.matches(error).count(), 1, "{text}");
        assert!(text.contains("as above"), "{text}");
        assert_eq!(text.contains("  CLAIMS NOT READ  yes "), error == read, "{text}");
        let document = StatusDocument { status: &status, events: &EventList::default() };
        let html = vipkeeper::status::html::page(document, NOW_MS, vipkeeper::status::frame::Refresh::Never);
        assert_eq!(html.matches(error).count(), 1, "{html}");
    }
    // An error that no first line tells stands where it arose.
    let mut status = status(vec![leader()]);
    status.sources[1].error = Some(read.to_owned());
    assert!(page(&status, DaemonLife::Alive, NOW_MS, PIPE).contains(read));
}

#[test]
fn a_detail_that_was_old_when_the_status_was_written_says_how_old() {
    let shown = |read_s| {
        let mut vip = standby();
        vip.bindings[0].read_ms = Some(ago(read_s));
        page(&status(vec![vip]), DaemonLife::Alive, NOW_MS, PIPE)
    };
    assert!(shown(31).contains("  as of 31 s ago: at eni-0b2\n"), "{}", shown(31));
    // The status was written a second ago.
    assert!(!shown(11).contains("as of") && shown(12).contains("as of 12 s ago: at eni-0b2"));
}
