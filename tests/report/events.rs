//! Events: what becomes one, how many are kept and how, what a restart leaves of them, and how a failover is told.

use std::path::Path;
use std::time::Duration;

use vipkeeper::action::{Action, Purpose, RouteCall};
use vipkeeper::binding::{Account, BindingKey, Kind};
use vipkeeper::decide::plan::{DriftReason, State};
use vipkeeper::desired::{Claim, Desired, WhyStandby};
use vipkeeper::ec2::Class;
use vipkeeper::ids::{ClaimId, Term};
use vipkeeper::observe::Source;
use vipkeeper::observe::obstacles::ObstacleName;
use vipkeeper::report::events::event;
use vipkeeper::report::{Direction, News, Outcome, Report, Reporter};
use vipkeeper::status::document::StatusDocument;
use vipkeeper::status::event::list::{EventList, Kept};
use vipkeeper::status::event::stamp::{OneClock, Stamp};
use vipkeeper::status::event::{EventKind, MOST, NodeEvent, shown};
use vipkeeper::status::frame::Refresh;
use vipkeeper::status::html;
use vipkeeper::status::page::Style;
use vipkeeper::status::picture;
use vipkeeper::status::story::{NodeEvents, Story};
use vipkeeper::status::{ClockStatus, ObstacleStatus, Status};

use super::golden;
use super::statuses::{NOW_MS, leader, standby, status};

const PLAIN: Style = Style { width: None, colour: false };
const VIP: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(20, 0, 0, 50));
/// The time since boot at `NOW_MS`.
const BOOT_MS: u64 = 9_000_000;

/// So many milliseconds before now.
fn before(ms: u64) -> Stamp {
    Stamp { wall_ms: NOW_MS - ms, boot_ms: Some(BOOT_MS - ms) }
}

fn route() -> BindingKey {
    BindingKey::new(Kind::Route, "rtb-012345abcd")
}

fn replace_route(eni: &str) -> Action {
    Action::PointRoute {
        account: Account::Own,
        table: "rtb-012345abcd".parse().unwrap(),
        destination: "20.0.0.50/32".parse().unwrap(),
        eni: eni.parse().unwrap(),
        call: RouteCall::ReplaceElseCreate,
    }
}

fn keep(list: &mut EventList, news: &News<'_>, at: Stamp) -> Kept {
    event(news).map_or(Kept::NoNews, |event| list.keep(event, at))
}

fn failed(list: &mut EventList, error: &str, at: Stamp) -> Kept {
    let (key, action) = (route(), replace_route("eni-0a1"));
    let done = News::ActionDone {
        vip: VIP,
        key: Some(&key),
        action: &action,
        purpose: Some(Purpose::Take),
        outcome: Outcome::Failed(Class::Denied),
        code: Some("UnauthorizedOperation"),
        error: Some(error),
        duration: Duration::from_millis(80),
    };
    keep(list, &done, at)
}

fn accepted(list: &mut EventList, eni: &str, at: Stamp) -> Kept {
    let (key, action) = (route(), replace_route(eni));
    let done = News::ActionDone {
        vip: VIP,
        key: Some(&key),
        action: &action,
        purpose: Some(Purpose::Take),
        outcome: Outcome::Accepted,
        code: None,
        error: None,
        duration: Duration::from_millis(112),
    };
    keep(list, &done, at)
}

/// A node that became leader, found its way blocked for a while, and had the VIP 2.4 s after the hook.
pub fn winner() -> EventList {
    let mut list = EventList::default();
    let claim = ClaimId::new("7f3a");
    keep(&mut list, &News::Started { version: "0.1.0", instance: None, region: None }, before(4_000_000));
    let text = "the file says leader, and so does the watchdog";
    keep(
        &mut list,
        &News::ReadFailed { source: Source::RouteTables, class: Class::Transient, error: text },
        before(60_900),
    );
    let leads = Desired::Leader(Claim { id: claim.clone(), started_ms: NOW_MS - 60_000, started_at: None });
    keep(&mut list, &News::DesiredChanged { vip: VIP, desired: &leads }, before(59_995));
    keep(&mut list, &News::ClaimTerm { vip: VIP, term: Term(NOW_MS - 60_000) }, before(59_990));
    failed(&mut list, "ReplaceRoute: UnauthorizedOperation: no. (request 1)", before(59_800));
    failed(&mut list, "ReplaceRoute: UnauthorizedOperation: no. (request 2)", before(59_300));
    keep(&mut list, &News::Observed { source: Source::RouteTables, at_ms: NOW_MS }, before(58_500));
    accepted(&mut list, "eni-0a1", before(57_900));
    keep(&mut list, &News::Takeover { vip: VIP, direction: Direction::Gained }, before(57_600));
    let after = Duration::from_millis(2_400);
    keep(&mut list, &News::Converged { vip: VIP, claim: &claim, after, held: false }, before(57_600));
    list
}

/// The node that had the VIP before, and lost it.
fn loser(clock_ahead_ms: u64) -> EventList {
    let at = |ms| Stamp { wall_ms: before(ms).wall_ms + clock_ahead_ms, ..before(ms) };
    let mut list = EventList::default();
    keep(&mut list, &News::GuardAlive { vip: VIP, alive: false }, at(61_000));
    let desired = Desired::Standby(WhyStandby::GuardDead);
    keep(&mut list, &News::DesiredChanged { vip: VIP, desired: &desired }, at(61_000));
    keep(&mut list, &News::Takeover { vip: VIP, direction: Direction::Lost }, at(60_400));
    list
}

fn node(name: &str, clock_ahead_ms: Option<i64>) -> Status {
    let ahead = u64::try_from(clock_ahead_ms.unwrap_or_default()).unwrap();
    let clock = clock_ahead_ms.map(|ahead_ms| ClockStatus {
        ahead_ms: Some(ahead_ms),
        error_ms: Some(90),
        ..ClockStatus::default()
    });
    Status {
        instance: Some(name.parse().unwrap()),
        written_ms: NOW_MS + ahead,
        written_boot_ms: Some(BOOT_MS),
        clock,
        ..status(vec![leader()])
    }
}

#[test]
fn the_list_tells_what_happened_and_a_failure_that_repeats_once() {
    let list = winner();
    golden::check("events.txt", &shown::table(list.iter(), PLAIN));
    let failure = list.iter().find(|event| event.kind == EventKind::ChangeFailed).unwrap();
    assert_eq!((failure.times, failure.last_ms), (2, Some(NOW_MS - 59_300)));
    assert_eq!(failure.call.as_deref(), Some("ReplaceRoute"));
    let change = list.iter().find(|event| event.kind == EventKind::Changed).unwrap();
    assert_eq!((change.took_ms, change.why.as_deref()), (Some(112), Some("a new claim takes it")));
}

#[test]
fn a_night_of_failures_does_not_push_the_failover_out() {
    let mut list = winner();
    let key = route();
    for n in 0..4_000_u64 {
        let at = Stamp { wall_ms: NOW_MS + n * 30_000, boot_ms: Some(BOOT_MS + n * 30_000) };
        failed(&mut list, &format!("no. (request {n})"), at);
        let blocked = News::BindingState { vip: VIP, key: &key, state: State::Blocked, detail: &format!("in way {n}") };
        keep(&mut list, &blocked, at);
        keep(&mut list, &News::DesiredInvalid { vip: VIP, why: &format!("a stranger writes {n}") }, at);
        keep(&mut list, &News::Observed { source: Source::Addresses, at_ms: 1 }, at);
    }
    assert!(list.iter().len() < 20, "{}", list.iter().len());
    assert!(list.iter().any(|event| event.kind == EventKind::Gained));
    let counted = list.iter().rev().find(|event| event.kind == EventKind::ChangeFailed).unwrap();
    assert_eq!((counted.times, counted.why.as_deref()), (4_000, Some("no. (request 3999)")));
}

#[test]
fn the_end_of_a_failure_is_an_event_only_after_the_failure() {
    let mut list = EventList::default();
    let key = route();
    let in_sync = News::BindingState { vip: VIP, key: &key, state: State::InSync, detail: "at eni-0a1" };
    assert_eq!(keep(&mut list, &in_sync, before(9)), Kept::NoNews);
    let drift = News::Drift { vip: VIP, key: &key, reason: DriftReason::ALL[0], detail: "points at eni-0b2" };
    assert_eq!(keep(&mut list, &drift, before(8)), Kept::New);
    assert_eq!(keep(&mut list, &drift, before(7)), Kept::Counted);
    assert_eq!(keep(&mut list, &in_sync, before(6)), Kept::New);
    assert_eq!(keep(&mut list, &in_sync, before(5)), Kept::NoNews);
    assert_eq!(keep(&mut list, &drift, before(4)), Kept::New, "the next drift is another one");
}

#[test]
fn a_vip_that_nobody_serves_and_packets_that_go_astray_are_events_with_their_ends() {
    let mut list = EventList::default();
    let nobody = |nobody, leads_here| News::NobodyServes { vip: VIP, nobody, leads_here };
    let astray = |why| News::Astray { vip: VIP, why };
    let silent = |why| News::WatchdogSilent { vip: VIP, why };
    // A restart may hide an end, and then a further beginning is news all the same.
    let all = [
        nobody(true, false),
        nobody(false, false),
        nobody(true, true),
        nobody(true, true),
        astray(Some("i-0b answers")),
        astray(Some("nobody answers")),
        astray(None),
        silent(Some("its queue is full")),
        silent(None),
    ];
    for (news, ms) in all.iter().zip((0..11_000).rev().step_by(1_000)) {
        assert_eq!(keep(&mut list, news, before(ms)), Kept::New, "{news:?}");
    }
    let told: Vec<_> = list.iter().map(|event| (event.kind.as_str(), event.vip, event.why.as_deref())).collect();
    let (here, nowhere) =
        ("this node leads, and EC2 has not led the clients here", "EC2 leads the clients to no node that leads");
    let wanted = [
        ("nobody_serves", Some(nowhere)),
        ("served", None),
        ("nobody_serves", Some(here)),
        ("nobody_serves", Some(here)),
        ("astray", Some("i-0b answers")),
        ("astray", Some("nobody answers")),
        ("not_astray", None),
        ("watchdog_silent", Some("its queue is full")),
        ("watchdog_heard", None),
    ];
    assert_eq!(told, wanted.map(|(kind, why)| (kind, Some(VIP), why)));
}

#[test]
fn the_list_and_its_file_are_bounded_whatever_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let report = Report::new(&[], Some(folder.path()), Duration::from_secs(90));
    let long = "\u{1}<script>\u{202e}".repeat(4_000);
    for n in 0..3 * MOST as u64 {
        report.news(&News::ClaimTerm { vip: VIP, term: Term(n) });
        let obstacle =
            ObstacleStatus { name: ObstacleName::AnchorFull.into(), binding: None, message: format!("{n} {long}") };
        report.news(&News::Obstacle { vip: VIP, obstacle: &obstacle, stands: true });
    }
    report.status(&status(vec![standby()]));
    let events = report.events();
    assert_eq!(events.iter().len(), MOST);
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    assert!(numbers.is_sorted() && numbers[MOST - 1] - numbers[0] == MOST as u64 - 1, "the newest are kept");
    let size = folder.path().join("events.json").metadata().unwrap().len();
    assert!(size < 8 << 20, "{size}");
}

fn events_after_restart(state_dir: &Path) -> Vec<NodeEvent> {
    let report = Report::new(&[], Some(state_dir), Duration::from_secs(90));
    report.events().iter().cloned().collect()
}

#[test]
fn events_outlive_the_daemon_and_a_damaged_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(events_after_restart(folder.path()), [], "no file is no damage");
    let report = Report::new(&[], Some(folder.path()), Duration::from_secs(90));
    report.news(&News::Takeover { vip: VIP, direction: Direction::Gained });
    report.status(&status(vec![leader()]));
    report.news(&News::Stopping);
    let kept = events_after_restart(folder.path());
    assert_eq!(kept.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["gained", "stopping"]);
    assert!(kept.iter().all(|event| event.boot_ms.is_some()), "the machine has not booted since");

    let path = folder.path().join("events.json");
    let good = std::fs::read(&path).unwrap();
    let other_boot = String::from_utf8(good.clone()).unwrap().replacen("\"boot\":\"", "\"boot\":\"f", 1);
    std::fs::write(&path, other_boot).unwrap();
    let kept = events_after_restart(folder.path());
    assert!(kept.len() == 2 && kept.iter().all(|event| event.boot_ms.is_none()), "{kept:?}");

    let newer = String::from_utf8(good.clone()).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    for damaged in [&good[..good.len() / 2], b"", b"[]", b"\xff\xfe", newer.as_bytes()] {
        std::fs::write(&path, damaged).unwrap();
        let kept = events_after_restart(folder.path());
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(kept[0].kind == EventKind::EventsLost && kept[0].why.is_some(), "{kept:?}");
    }
    // It goes on from there.
    let report = Report::new(&[], Some(folder.path()), Duration::from_secs(90));
    report.news(&News::Takeover { vip: VIP, direction: Direction::Lost });
    report.status(&status(vec![standby()]));
    let kept = events_after_restart(folder.path());
    assert_eq!(kept.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["events_lost", "lost"]);
}

#[test]
fn events_that_cannot_be_written_are_a_problem_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("events.json")).unwrap();
    let report = Report::new(&[], Some(folder.path()), Duration::from_secs(90));
    report.news(&News::Takeover { vip: VIP, direction: Direction::Gained });
    for _ in 0..3 {
        report.status(&status(vec![leader()]));
    }
    let events = report.events();
    let problem = events.iter().find(|event| event.about.as_deref() == Some("EventsFile")).unwrap();
    assert!(problem.kind == EventKind::Problem && problem.times == 3, "{problem:?}");
}

#[test]
fn ages_are_counted_by_the_clock_since_boot_so_that_a_step_hides_nothing() {
    let mut list = EventList::default();
    // The wall clock was an hour ahead, and was set back since.
    let ahead = Stamp { wall_ms: NOW_MS + 3_600_000, boot_ms: Some(BOOT_MS - 10_000) };
    keep(&mut list, &News::Takeover { vip: VIP, direction: Direction::Gained }, ahead);
    keep(&mut list, &News::Takeover { vip: VIP, direction: Direction::Lost }, before(5_000));
    let kinds = |seconds: u64| -> Vec<_> {
        let since = Some(Duration::from_secs(seconds));
        shown::recent(&list, since, before(0)).map(|event| event.kind.as_str().to_owned()).collect()
    };
    assert_eq!(kinds(0), [""; 0]);
    assert_eq!(kinds(7), ["lost"]);
    assert_eq!(kinds(11), ["gained", "lost"]);
    assert_eq!(kinds(u64::MAX), ["gained", "lost"], "no time is too long");
    let status = Status { written_boot_ms: Some(BOOT_MS), written_ms: NOW_MS, ..status(vec![]) };
    let on_clock: Vec<_> = list.iter().map(|event| OneClock::of(&status).at_ms(event)).collect();
    assert_eq!(on_clock[1] - on_clock[0], 5_000, "the step moves nothing on the one clock");
}

#[test]
fn a_failover_is_told_from_two_nodes_on_one_clock() {
    // The loser's clock is 90 s ahead: by the nodes' own clocks, the VIP was lost long after it was gained.
    let nodes = vec![
        NodeEvents::new(&node("i-0aa", Some(90_000)), loser(90_000)),
        NodeEvents::new(&node("i-0bb", None), winner()),
    ];
    let story = Story::of(nodes);
    let day = Duration::from_hours(24);
    let episodes = story.failovers(day, None);
    assert_eq!(episodes.len(), 1);
    let summary = story.summary(&episodes[0]);
    assert!(summary.starts_with("i-0bb took it over from i-0aa, 2.800 s after that one lost it"), "{summary}");
    golden::check("story.txt", &story.text(&episodes, PLAIN));
    // The documents show this picture.
    golden::check("../../../docs/status-page/failover.svg", &picture::draw(&story, &episodes[0]));
    assert_eq!(story.failovers(day, Some("20.0.0.51".parse().unwrap())).len(), 0);
    assert_eq!(story.failovers(Duration::from_secs(30), None).len(), 0);
    assert_eq!(story.failovers(Duration::MAX, None).len(), 1);
    assert!(story.text(&[], PLAIN).starts_with("No VIP was gained or lost in this time"));
}

#[test]
fn a_node_that_is_given_twice_is_one_node() {
    let day = Duration::from_hours(24);
    let newer = || NodeEvents::new(&node("i-0bb", None), winner());
    let older_status =
        Status { written_ms: NOW_MS - 30_000, written_boot_ms: Some(BOOT_MS - 30_000), ..node("i-0bb", None) };
    // The older document lacks the newest event, and has one from before a boot, with a number that was given again.
    let mut of_old: std::collections::VecDeque<_> = winner().iter().cloned().collect();
    of_old.pop_back();
    let mut before_boot = of_old.front().unwrap().clone();
    before_boot.at_ms -= 3_600_000;
    before_boot.boot_ms = None;
    of_old.push_front(before_boot);
    let older = || NodeEvents::new(&older_status, of_old.clone().into());
    let told = |documents: Vec<NodeEvents>| {
        let story = Story::of(documents);
        let episodes = story.failovers(day, None);
        (story.text(&episodes, PLAIN), episodes.len())
    };
    let (alone, count) = told(vec![newer()]);
    for documents in [vec![newer(), newer()], vec![newer(), older()], vec![older(), newer()]] {
        let (text, of_both) = told(documents);
        assert_eq!(text.matches("i-0bb:").count(), 1, "one line about its clock: {text}");
        assert_eq!(of_both, count, "{text}");
        let last =
            |text: &str| text.lines().filter(|line| line.contains("i-0bb")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(last(&text), last(&alone), "no event is told twice");
    }
}

#[test]
fn events_are_part_of_the_page_and_of_the_document() {
    let (status, events) = (node("i-0bb", None), winner());
    let document = StatusDocument { status: &status, events: &events };
    let page = html::page(document, NOW_MS + 2_000, Refresh::Never);
    let section =
        page.split("<section aria-labelledby=\"events\">").nth(1).unwrap().split("</section>").next().unwrap();
    golden::check("html-events.html", &(section.replace("><", ">\n<") + "\n"));
    let text = serde_json::to_string(&document).unwrap();
    let read: StatusDocument = serde_json::from_str(&text).unwrap();
    assert_eq!((&read.status, &read.events), (&status, &events));
    let of_older: StatusDocument = serde_json::from_str(&serde_json::to_string(&status).unwrap()).unwrap();
    assert!(of_older.events.is_empty());
}

#[test]
fn text_from_elsewhere_stays_text_in_every_form_of_an_event() {
    let hostile =
        "</title></svg><script>alert(1)</script>\"' onload='x' \u{202e}\u{fffe}\x1b[2J\r\n+0.000 i-0aa forged";
    let mut list = loser(0);
    let key = BindingKey::new(Kind::Route, hostile);
    keep(&mut list, &News::Drift { vip: VIP, key: &key, reason: DriftReason::ALL[0], detail: hostile }, before(60_300));
    keep(&mut list, &News::Held { vip: VIP, why: Some(hostile) }, before(60_200));
    failed(&mut list, hostile, before(60_100));
    let status = node("i-0aa", None);
    let page = html::page(StatusDocument { status: &status, events: &list }, NOW_MS, Refresh::Never);
    let table = shown::table(list.iter(), PLAIN);
    let story = Story::of([NodeEvents::new(&status, list)]);
    let episodes = story.failovers(Duration::from_mins(10), None);
    let (text, picture) = (story.text(&episodes, PLAIN), picture::draw(&story, &episodes[0]));
    for (form, shown) in [("page", &page), ("table", &table), ("text", &text), ("picture", &picture)] {
        let is_control =
            |c: char| c != '\n' && (c.is_control() || c == '\u{202e}' || (form == "picture" && c == '\u{fffe}'));
        assert!(!shown.contains(is_control), "{form}: {shown}");
        assert!(shown.contains("alert(1)"), "{form}: {shown}");
    }
    for marked_up in [&page, &picture] {
        assert!(!marked_up.contains("<script") && !marked_up.contains("</title></svg><"), "{marked_up}");
    }
    assert_eq!(picture.matches("</svg>").count(), 1);
    assert!(
        table.lines().chain(text.lines()).all(|line| !line.trim_start().starts_with("+0.000 i-0aa forged")),
        "{table}{text}"
    );
}

#[test]
fn documents_with_absurd_times_end_nothing() {
    let absurd = [0, 1, u64::MAX, u64::MAX / 2];
    for (at_ms, boot_ms) in absurd.into_iter().flat_map(|at| absurd.map(|boot| (at, boot))) {
        for ahead_ms in [i64::MIN, i64::MAX, 0] {
            let mut gained = event(&News::Takeover { vip: VIP, direction: Direction::Gained }).unwrap();
            (gained.at_ms, gained.boot_ms, gained.took_ms) = (at_ms, Some(boot_ms), Some(u64::MAX));
            let mut gone = event(&News::Takeover { vip: VIP, direction: Direction::Lost }).unwrap();
            (gone.at_ms, gone.number) = (boot_ms, u64::MAX);
            let list = EventList::from(std::collections::VecDeque::from([gained, gone]));
            let clock = ClockStatus { ahead_ms: Some(ahead_ms), error_ms: Some(ahead_ms), ..ClockStatus::default() };
            let status =
                Status { written_ms: at_ms, written_boot_ms: Some(boot_ms), clock: Some(clock), ..node("i-0aa", None) };
            let story = Story::of([NodeEvents::new(&status, list)]);
            let episodes = story.failovers(Duration::MAX, None);
            let text = story.text(&episodes, PLAIN);
            assert!(text.contains("i-0aa"), "{text}");
            for episode in &episodes {
                assert!(picture::draw(&story, episode).len() < 100_000);
            }
        }
    }
}

#[test]
fn the_command_of_on_change_is_told_of_what_the_configuration_says_and_of_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let report = Report::new(&[], None, Duration::from_secs(90));
    let append = format!("cat >> '{}'", told.display());
    report.status(&status(vec![standby()]));
    report.set_on_change(&["/bin/sh".to_owned(), "-c".to_owned(), append]);
    let key = route();
    for news in [
        News::Started { version: "0.1.0", instance: None, region: None },
        News::Takeover { vip: VIP, direction: Direction::Gained },
        News::BindingState { vip: VIP, key: &key, state: State::Blocked, detail: "denied" },
        News::BindingState { vip: VIP, key: &key, state: State::Blocked, detail: "denied again" },
        News::Contested { vip: VIP, contested: true },
        News::Contested { vip: VIP, contested: false },
        News::NobodyServes { vip: VIP, nobody: true, leads_here: false },
        News::NobodyServes { vip: VIP, nobody: false, leads_here: false },
        News::Astray { vip: VIP, why: Some("nobody answers") },
        News::Astray { vip: VIP, why: None },
        News::Takeover { vip: VIP, direction: Direction::Lost },
    ] {
        report.news(&news);
    }
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    let began = std::time::Instant::now();
    while lines().lines().count() < 6 && began.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let told: Vec<serde_json::Value> = lines().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = told.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["gained", "blocked", "contested", "nobody_serves", "astray", "lost"]);
    assert!(told.iter().all(|event| event["node"] == "i-0abc"), "{told:?}");
    assert_eq!(told[1]["binding"]["target"], "rtb-012345abcd");
}
