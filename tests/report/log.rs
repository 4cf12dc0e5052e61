//! The log: which events it tells, at which level, and how often.

use std::fs::File;
use std::io::{self, BufRead as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use vipkeeper::action::{Action, Purpose};
use vipkeeper::binding::{Anchor, BindingKey, Kind};
use vipkeeper::desired::{Claim, Desired, WhyUnknown};
use vipkeeper::ec2::{Class, RequestReport};
use vipkeeper::ids::{ClaimId, Term};
use vipkeeper::machine::kernel::{KernelError, Left, Reset};
use vipkeeper::report::{
    Direction, DriftReason, LogFormat, News, Outcome, PassResult, Report, Reporter, Source, State, init_log, say,
};

use super::captured::captured;

/// A process of its own that logs to this stderr after `init_log`.
fn process(format: &str, name: &str, stderr: impl Into<Stdio>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]).env("LOG_FORMAT", format);
    command.stdout(Stdio::null()).stderr(stderr);
    command
}

/// The end of a process. A process that its log holds up is killed in the end: it could not even say so, because nobody
/// reads its stderr.
fn ended(mut child: Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > Duration::from_mins(3) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The output of a process that logs in this format.
fn said_by_a_process(format: &str, is_journal: bool) -> String {
    let (mut reader, writer) = io::pipe().unwrap();
    let stat = rustix::fs::fstat(&writer).unwrap();
    let journal = if is_journal { stat.st_ino } else { stat.st_ino + 1 };
    let mut command = process(format, "log::a_process_that_logs", writer);
    let mut child = command.env("JOURNAL_STREAM", format!("{}:{journal}", stat.st_dev)).spawn().unwrap();
    drop(command);
    let mut text = String::new();
    io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

#[test]
#[ignore = "only in a process of its own: others start it"]
fn a_process_that_logs() {
    let format = if std::env::var("LOG_FORMAT").unwrap() == "json" { LogFormat::Json } else { LogFormat::Text };
    let _log = init_log(format, "info").unwrap();
    assert!(init_log(format, "info").is_err(), "once is enough");
    let report = report();
    report.news(&News::DesiredInvalid { vip: vip(), why: "owned by \"x\"" });
    report.news(&News::Takeover { vip: vip(), direction: Direction::Gained });
    report.news(&News::PassDone { result: PassResult::Acting, duration: Duration::ZERO });
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    let lines = said_by_a_process("text", true);
    assert_eq!(
        lines,
        concat!(
            "<3>the desired-state file is not valid; the last good one stays in force ",
            "vip=20.0.0.50 why=\"owned by \\\"x\\\"\"\n",
            "<6>the VIP leads to this node now vip=20.0.0.50\n",
        )
    );
}

#[test]
fn another_stream_gets_times_and_no_colours_even_if_the_variable_was_inherited() {
    let lines = said_by_a_process("text", false);
    let (time, rest) = lines.split_once(' ').unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{lines}");
    assert!(rest.trim_start().starts_with("ERROR the desired-state file"), "{lines}");
    assert!(!lines.contains('\x1b') && lines.lines().count() == 2, "{lines}");
}

#[test]
fn json_is_one_object_a_line() {
    let lines = said_by_a_process("json", true);
    let objects: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2, "{lines}");
    assert_eq!((&objects[0]["level"], &objects[0]["vip"]), (&"ERROR".into(), &"20.0.0.50".into()));
    assert_eq!(objects[0]["why"], "owned by \"x\"");
    assert_eq!(objects[1]["message"], "the VIP leads to this node now");
}

#[test]
#[ignore = "only in a process of its own: others start it"]
fn a_process_that_logs_much() {
    {
        let _log = init_log(LogFormat::Text, "info").unwrap();
        let why = "x".repeat(100);
        for _ in 0..30_000 {
            report().news(&News::DesiredInvalid { vip: vip(), why: &why });
        }
        if std::env::var_os("WAIT_FOR_READER").is_some() {
            println!("produced");
            let _ = io::Read::read(&mut io::stdin(), &mut [0]).unwrap();
            let metrics = report().metrics();
            let lost = metrics.lines().find_map(|line| line.strip_prefix("vipkeeper_log_lines_lost_total ")).unwrap();
            println!("lost={lost}");
            report().news(&News::Takeover { vip: vip(), direction: Direction::Gained });
        }
    }
    say("the last word");
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (_, nobody_reads) = io::pipe().unwrap();
    for stderr in [Stdio::from(full), nobody_reads.into()] {
        let status = ended(process("text", "log::a_process_that_logs_much", stderr).spawn().unwrap());
        assert!(status.success(), "{status}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up_and_what_was_lost_is_told() {
    let (mut reader, writer) = io::pipe().unwrap();
    let status = ended(process("text", "log::a_process_that_logs_much", writer.try_clone().unwrap()).spawn().unwrap());
    assert!(status.success(), "{status}");
    drop(writer);
    let mut text = String::new();
    io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert!(!text.is_empty() && text.len() <= 1 << 20, "{}", text.len());

    let (mut reader, writer) = io::pipe().unwrap();
    let mut command = process("text", "log::a_process_that_logs_much", writer);
    command.env("WAIT_FOR_READER", "yes").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    let mut said = io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("produced")));
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        text
    });
    // Further lines find room once what waits has been read.
    std::thread::sleep(Duration::from_secs(1));
    io::Write::write_all(&mut stdin, b"!").unwrap();
    let counted: usize = said.find_map(|line| line.unwrap().strip_prefix("lost=")?.parse().ok()).unwrap();
    // The harness ends with some words on stdout.
    said.for_each(drop);
    assert!(ended(child).success());
    let text = reading.join().unwrap();
    let lines: Vec<_> = text.lines().collect();
    let lost = lines.iter().filter_map(|line| line.split_once("or nobody read them lost="));
    let lost: usize = lost.map(|(_, lost)| lost.parse::<usize>().unwrap()).sum();
    let said = lines.iter().filter(|line| line.contains("the desired-state file")).count();
    assert!(lost > 0);
    assert_eq!(counted, lost, "the metric counts what the line tells");
    assert_eq!(said + lost, 30_000);
    assert!(lines.iter().any(|line| line.contains("the VIP leads to this node now")), "{}", lines.len());
    assert_eq!(lines.last(), Some(&"the last word"));
}

#[test]
fn text_of_others_stays_on_its_line() {
    for format in ["text", "json"] {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = process(format, "log::a_process_that_logs_forged_text", writer);
        assert!(command.status().unwrap().success());
        drop(command);
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text:?}");
        assert!(lines[0].contains("it is on") && lines[0].contains("forged"), "{text}");
        assert!(lines[1].len() < 20_000, "{}", lines[1].len());
        if format == "json" {
            let object: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
            assert_eq!(object["message"], "drift: it is on\n<3>forged\u{202e}\u{1b}[2J");
            serde_json::from_str::<serde_json::Value>(lines[1]).unwrap();
        }
    }
}

#[test]
#[ignore = "only in a process of its own: others start it"]
fn a_process_that_logs_forged_text() {
    let format = if std::env::var("LOG_FORMAT").unwrap() == "json" { LogFormat::Json } else { LogFormat::Text };
    let _log = init_log(format, "info").unwrap();
    let detail = "it is on\n<3>forged\u{202e}\u{1b}[2J";
    report().news(&News::Drift { vip: vip(), key: &key(), reason: DriftReason::CheckOn, detail });
    report().news(&News::DesiredInvalid { vip: vip(), why: &"x".repeat(100_000) });
}

#[test]
fn a_file_that_is_bad_in_ever_new_ways_is_few_lines() {
    let report = report();
    let lines = captured("info", || {
        for n in 0..300 {
            report.news(&News::DesiredInvalid { vip: vip(), why: &format!("line {n} is no JSON") });
        }
    });
    assert!(lines.len() < 10, "{}", lines.len());
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let error = init_log(LogFormat::Text, "loud=very").unwrap_err().to_string();
    assert!(error.starts_with("'loud=very' is no log level"), "{error}");
}

fn report() -> Report {
    Report::new(&[], None, Duration::from_secs(90))
}

fn vip() -> std::net::IpAddr {
    "20.0.0.50".parse().unwrap()
}

fn key() -> BindingKey {
    BindingKey::new(Kind::SourceDestCheck, "eth0")
}

fn action() -> Action {
    Action::DisableSourceDestCheck { eni: "eni-0a1".parse().unwrap() }
}

fn done(report: &Report, outcome: Outcome, code: Option<&str>, error: Option<&str>) {
    let duration = Duration::from_millis(117);
    let (key, action) = (key(), action());
    let purpose = Some(Purpose::Retake);
    let done =
        News::ActionDone { vip: vip(), key: Some(&key), action: &action, purpose, outcome, code, error, duration };
    report.news(&done);
}

#[test]
fn a_claim_on_a_doubtful_clock_is_a_warning() {
    let report = report();
    let claim = ClaimId::new("7f3a");
    let news = News::ClaimClock { vip: vip(), claim: &claim, doubt: "not synchronised" };
    let lines = captured("warn", || report.news(&news));
    let text = "WARN this claim began on a clock that may order it wrongly vip=20.0.0.50 claim=7f3a";
    assert!(lines.len() == 1 && lines[0].starts_with(text) && lines[0].contains("not synchronised"), "{lines:?}");
}

#[test]
fn a_failover_reads_as_a_story() {
    let report = report();
    let claim = ClaimId::new("7f3a");
    let lines = captured("info", || {
        let desired = Desired::Leader(Claim { id: claim.clone(), started_ms: 1, started_at: None });
        report.news(&News::DesiredChanged { vip: vip(), desired: &desired });
        report.news(&News::ClaimTerm { vip: vip(), term: Term(1_800_000_000_000) });
        done(&report, Outcome::Accepted, None, None);
        report.news(&News::Converged { vip: vip(), claim: &claim, after: Duration::from_millis(214), held: false });
        report.news(&News::PassDone { result: PassResult::InSync, duration: Duration::from_millis(80) });
        report.news(&News::Observed { source: Source::RouteTables, at_ms: 1 });
    });
    assert_eq!(
        lines,
        [
            "INFO this node is wanted as leader vip=20.0.0.50 role=leader claim=7f3a",
            "INFO claiming the VIP vip=20.0.0.50 term=1800000000000",
            "INFO switch the source/destination check of eni-0a1 off: accepted vip=20.0.0.50 \
         kind=\"source_dest_check\" target=\"eth0\" action=\"disable_source_dest_check\" outcome=\"accepted\" \
         duration_s=0.117",
            "INFO converged: every binding leads to this node vip=20.0.0.50 claim=7f3a after_s=0.214",
        ]
    );
}

#[test]
fn only_a_file_that_does_not_count_is_a_warning() {
    let report = report();
    let lines = captured("info", || {
        for why in [WhyUnknown::NoFile, WhyUnknown::Invalid, WhyUnknown::OtherBoot] {
            report.news(&News::DesiredChanged { vip: vip(), desired: &Desired::Unknown(why) });
        }
        let (key, state) = (BindingKey::new(Kind::Route, "rtb-1"), State::Blocked);
        let detail = "points here, but no hook has said who leads: left alone";
        report.news(&News::BindingState { vip: vip(), key: &key, state, detail });
    });
    assert_eq!(
        lines,
        [
            "INFO no hook has said yet what is wanted of this node; touching nothing vip=20.0.0.50 role=unknown \
             reason=\"no hook has run since this machine started\"",
            "WARN not known what is wanted of this node; touching nothing vip=20.0.0.50 role=unknown \
             reason=\"the desired-state file cannot be used\"",
            "WARN not known what is wanted of this node; touching nothing vip=20.0.0.50 role=unknown \
             reason=\"the desired-state file is from before this boot\"",
            "WARN blocked: points here, but no hook has said who leads: left alone vip=20.0.0.50 kind=route \
             target=\"rtb-1\"",
        ]
    );
}

#[test]
fn being_in_sync_is_silent_even_for_those_who_debug() {
    let report = report();
    let lines = captured("debug", || {
        report.news(&News::PassDone { result: PassResult::InSync, duration: Duration::from_millis(80) });
        report.news(&News::Observed { source: Source::RouteTables, at_ms: 1 });
        let duration = Duration::from_millis(80);
        let request = RequestReport { operation: "DescribeAddresses", result: "ok", duration, waited: Duration::ZERO };
        report.news(&News::Request(&request));
    });
    assert_eq!(lines, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_failing_is_said_less_and_less_and_its_end_is_said() {
    let report = report();
    let mut said = Vec::new();
    // Every 30 s for three hours, as after a permission was taken away.
    for turn in 0..360 {
        let lines = captured("warn", || {
            done(&report, Outcome::Failed(Class::Denied), Some("UnauthorizedOperation"), Some("not authorized"));
        });
        said.extend(lines.into_iter().map(|line| (turn / 2, line)));
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    let minutes: Vec<_> = said.iter().map(|(minute, _)| *minute).collect();
    assert_eq!(minutes, [0, 1, 6, 21, 81, 141]);
    assert!(
        said[0].1.starts_with(
            "ERROR switch the source/destination check of eni-0a1 off: failed: not authorized vip=20.0.0.50"
        )
    );
    assert!(said[2].1.contains("not authorized (failure 13 in 6m) vip="), "{said:#?}");

    let end = captured("warn,vipkeeper=info", || done(&report, Outcome::Accepted, None, None));
    assert!(end[0].contains("off: accepted, after 360 failures in 3h vip="), "{end:#?}");
    let again = captured("warn", || done(&report, Outcome::Failed(Class::Denied), None, Some("not authorized")));
    assert_eq!(again.len(), 1, "a new episode is said at once");
}

#[tokio::test(start_paused = true)]
async fn an_old_claim_that_stays_is_said_once_and_is_no_error() {
    let report = report();
    let anchor = Anchor::ElasticIp("eipalloc-1".parse().unwrap());
    let forget =
        Action::ForgetClaim { anchor, key: "vipkeeper/20.0.0.50/i-b".to_owned(), value: "0 withdrawn".to_owned() };
    let mut lines = Vec::new();
    for _ in 0..5 {
        lines.extend(captured("info", || {
            report.news(&News::ActionDone {
                vip: vip(),
                key: None,
                action: &forget,
                purpose: None,
                outcome: Outcome::Failed(Class::Denied),
                code: Some("UnauthorizedOperation"),
                error: Some("not authorized"),
                duration: Duration::ZERO,
            });
        }));
        tokio::time::advance(Duration::from_hours(1)).await;
    }
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("WARN forget vipkeeper/20.0.0.50/i-b"), "{lines:#?}");
}

#[test]
fn another_reason_is_said_at_once_but_not_each_time_that_it_alternates() {
    let report = report();
    let lines = captured("warn", || {
        for _ in 0..5 {
            done(&report, Outcome::Failed(Class::Transient), None, Some("no answer"));
            done(&report, Outcome::Unknown(Class::Transient), None, Some("connection reset"));
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN") && lines[0].contains("failed: no answer"), "{lines:#?}");
    assert!(lines[1].contains("the answer was lost, the next look will tell: connection reset"), "{lines:#?}");
}

#[test]
fn an_error_that_changes_within_its_class_is_said_again_and_a_new_request_id_is_no_change() {
    let report = report();
    let source = Source::Addresses;
    let lines = captured("warn", || {
        for (number, error) in
            ["no connection: refused", "no answer in time", "no connection: refused"].iter().enumerate()
        {
            let error = format!("DescribeAddresses: {error} (request {number})");
            for _ in 0..3 {
                report.news(&News::ReadFailed { source, class: Class::Transient, error: &error });
                done(&report, Outcome::Failed(Class::Transient), None, Some(&error));
            }
        }
    });
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((of("refused"), of("in time"), lines.len()), (2, 2, 4), "{lines:#?}");
}

#[test]
fn a_binding_that_is_blocked_by_turns_is_said_once_until_it_is_in_place() {
    let report = report();
    let key = key();
    let lines = captured("warn", || {
        for state in [State::Blocked, State::Drift].repeat(5) {
            report.news(&News::BindingState { vip: vip(), key: &key, state, detail: "denied (request 7)" });
        }
        for state in [State::InSync, State::Blocked] {
            report.news(&News::BindingState { vip: vip(), key: &key, state, detail: "denied (request 8)" });
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
#[ignore = "only in a process of its own: others start it"]
fn a_process_whose_library_warns() {
    let _log = init_log(LogFormat::Text, "info").unwrap();
    for turn in 0..50 {
        tracing::warn!(target: "aws_config::imds", error = "no connection", "provider failed");
        if turn == 20 {
            tracing::warn!(target: "aws_config::imds", error = "no answer in time", "provider failed");
        }
        tracing::info!(target: "vipkeeper::demo", "own line");
    }
}

#[test]
fn a_library_that_warns_at_each_try_is_heard_as_rarely_as_vipkeeper_itself() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut command = process("text", "log::a_process_whose_library_warns", writer);
    assert!(command.status().unwrap().success());
    drop(command);
    let mut text = String::new();
    io::Read::read_to_string(&mut reader, &mut text).unwrap();
    let of = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!((of("no connection"), of("no answer in time"), of("own line")), (1, 1, 50), "{text}");
}

#[test]
fn a_source_that_fails_and_comes_back_is_two_lines() {
    let report = report();
    let source = Source::RouteTables;
    let lines = captured("info", || {
        for _ in 0..4 {
            report.news(&News::ReadFailed { source, class: Class::Transient, error: "DescribeRouteTables: timeout" });
        }
        report.news(&News::Observed { source, at_ms: 1 });
        report.news(&News::Observed { source, at_ms: 2 });
    });
    assert_eq!(
        lines,
        [
            "WARN could not be read: DescribeRouteTables: timeout source=route_tables class=\"transient\"",
            "INFO read again, after 4 failures in 0s source=route_tables",
        ]
    );
}

#[test]
fn a_kernel_that_cannot_end_connections_is_named_once_and_ended_ones_are_counted_each_time() {
    let address = vip();
    let failed = |message: &str| {
        let error = KernelError::Kernel { doing: "reset".to_owned(), message: message.to_owned() };
        Reset { ended: 0, left: Some(Left::Failed(error)) }
    };
    let lines = captured("info", || {
        let report = report();
        for reset in [
            failed("no CONFIG_INET_DIAG_DESTROY"),
            failed("no CONFIG_INET_DIAG_DESTROY"),
            failed("another reason"),
            Reset { ended: 0, left: None },
            Reset { ended: 7, left: None },
            Reset { ended: 2, left: Some(Left::Kept("20.0.0.50/32 on lo".to_owned())) },
        ] {
            report.news(&News::ConnectionsReset { vip: vip(), address, reset: &reset });
        }
    });
    let wanted = ["no CONFIG_INET_DIAG_DESTROY", "reset 7 connections", "reset 2 connections", "keeps the address as"];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.contains(wanted), "{lines:#?}");
    }
}

#[test]
fn room_that_hooks_do_not_have_is_told_once_until_they_have_it_again() {
    let report = report();
    let lines = captured("info", || {
        for _ in 0..2 {
            report.news(&News::Reserve { missing: Some("the file system is full") });
            report.news(&News::Reserve { missing: Some("the file system is still full") });
            report.news(&News::Reserve { missing: None });
        }
    });
    let full = "WARN the file system is full";
    let kept = "INFO room is kept again for hooks that find the state folder's file system full";
    assert_eq!(lines, [full, kept, full, kept]);
}

#[test]
fn what_an_operator_must_see_is_an_error() {
    let report = report();
    let key = key();
    let lines = captured("warn", || {
        report.news(&News::Contested { vip: vip(), contested: true });
        report.news(&News::HookLost { vip: vip(), lost: true });
        report.news(&News::Held { vip: vip(), why: Some("an operator holds it") });
        report.news(&News::DesiredInvalid { vip: vip(), why: "owned by user 1000" });
        report.news(&News::DesiredInvalid { vip: vip(), why: "owned by user 1000" });
        report.news(&News::Drift { vip: vip(), key: &key, reason: DriftReason::CheckOn, detail: "it is on" });
    });
    let levels: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(levels, ["ERROR", "ERROR", "WARN", "ERROR", "WARN"], "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_failed_under_another_claim_counts_for_nothing() {
    let report = report();
    let wanted = |id: &str| {
        let desired = Desired::Leader(Claim { id: ClaimId::new(id), started_ms: 1, started_at: None });
        report.news(&News::DesiredChanged { vip: vip(), desired: &desired });
    };
    wanted("one");
    for _ in 0..25 {
        captured("info", || done(&report, Outcome::Failed(Class::Transient), Some("Unavailable"), Some("try later")));
        tokio::time::advance(Duration::from_mins(1)).await;
    }
    let lines = captured("info", || {
        wanted("two");
        done(&report, Outcome::Failed(Class::Transient), Some("Unavailable"), Some("try later"));
        wanted("three");
        done(&report, Outcome::Accepted, None, None);
    });
    assert!(lines[1].contains("WARN") && lines[1].contains("try later"), "{lines:#?}");
    assert!(!lines[1].contains("(failure"), "{lines:#?}");
    assert!(!lines[3].contains("after"), "{lines:#?}");
}
