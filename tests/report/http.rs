//! The listener: what it answers, and what clients cannot do to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vipkeeper::ec2::Class;
use vipkeeper::problem::ProblemReason;
use vipkeeper::report::{News, PassResult, Report, Reporter, Source, http};
use vipkeeper::status::Problem;

use super::statuses::{leader, standby, status};

/// Serves a report while the client asks; the client's end ends both.
async fn with_server<T>(report: &Report, client: impl AsyncFnOnce(std::net::SocketAddr) -> T) -> T {
    with_server_at("127.0.0.1:0", report, client).await
}

async fn with_server_at<T>(listen: &str, report: &Report, client: impl AsyncFnOnce(std::net::SocketAddr) -> T) -> T {
    let listener = http::listen(listen.parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::select! {
        never = http::serve(listener, report) => match never {},
        result = tokio::time::timeout(Duration::from_secs(30), client(address)) => result.expect("within 30 s"),
    }
}

/// The whole answer to these bytes.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that has said all it wants may reset what the client still sends.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await
}

fn report() -> Report {
    Report::new(&[], None, Duration::from_secs(90))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn metrics_come_in_prometheus_text_format() {
    let report = report();
    report.news(&News::PassDone { result: PassResult::InSync, duration: Duration::ZERO });
    let answer = with_server(&report, async |address| get(address, "/metrics?debug=1").await).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(body(&answer).contains("vipkeeper_passes_total{result=\"in_sync\"} 1\n"), "{answer}");
    assert!(answer.ends_with('\n'));
}

#[tokio::test]
async fn health_has_reasons_and_the_status_is_the_document() {
    let report = report();
    with_server(&report, async |address| {
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "), "it has just started");
        assert!(get(address, "/status").await.starts_with("HTTP/1.1 503 "));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && body(&answer) == "nothing was observed yet\n", "{answer}");

        let mut status = status(vec![leader()]);
        report.status(&status);
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && body(&answer) == "ok\n", "{answer}");
        let answer = get(address, "/status").await;
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert_eq!(serde_json::from_str::<vipkeeper::status::Status>(body(&answer)).unwrap(), status);

        status.sources[0].last_success_ms = Some(status.written_ms - 91_000);
        status.sources[1].last_success_ms = None;
        status.sources[1].error = Some("DescribeRouteTables: AuthFailure:\n no".to_owned());
        report.status(&status);
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(
            body(&answer),
            "addresses were last read 91 s ago\nroute_tables were never read: DescribeRouteTables: AuthFailure: no\n"
        );
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "), "unready is not dead");
    })
    .await;
}

#[test]
fn a_node_that_does_not_know_itself_says_that_and_not_what_follows_from_it() {
    let report = report();
    let mut status = status(vec![]);
    status.instance = None;
    status.sources.retain(|source| source.source == Source::LocalAddresses);
    status.sources[0].last_success_ms = Some(status.written_ms - 120_000);
    report.status(&status);
    assert_eq!(report.health().ready().unwrap_err(), ["this node does not know yet who it is"]);
    let message = "no interface of this machine has 02:00:00:00:00:01".to_owned();
    status.problems.push(Problem {
        reason: ProblemReason::NoIdentity.into(),
        message: message.clone(),
        since_ms: 0,
        times: 1,
    });
    report.status(&status);
    assert_eq!(report.health().ready().unwrap_err(), [message]);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_does_not_turn_is_not_healthy_nor_ready() {
    let report = report();
    report.status(&status(vec![leader()]));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(report.health().live(), Ok(()));
    assert_eq!(report.health().ready(), Ok(()));
    tokio::time::advance(Duration::from_secs(6)).await;
    let stuck = "the loop has not turned for 36 s".to_owned();
    assert_eq!(report.health().live(), Err(stuck.clone()));
    assert_eq!(report.health().ready(), Err(vec![stuck]));
}

#[test]
fn credentials_that_do_not_work_are_told_at_once() {
    let report = report();
    let status = status(vec![leader()]);
    report.status(&status);
    let source = Source::RouteTables;
    report.news(&News::ReadFailed { source, class: Class::Transient, error: "DescribeRouteTables: no answer" });
    assert_eq!(report.health().ready(), Ok(()), "that may pass");
    report.news(&News::ReadFailed { source, class: Class::Denied, error: "DescribeRouteTables: AuthFailure" });
    report.news(&News::CredentialsExpiry { at_ms: Some(status.written_ms - 5_000) });
    assert_eq!(
        report.health().ready().unwrap_err(),
        ["the credentials expired 5 s ago", "route_tables may not be read: DescribeRouteTables: AuthFailure"]
    );
    report.news(&News::Observed { source, at_ms: status.written_ms });
    report.news(&News::CredentialsExpiry { at_ms: None });
    assert_eq!(report.health().ready(), Ok(()));
}

#[test]
fn a_watchdog_that_is_gone_makes_its_node_unready_and_counts() {
    let report = report();
    let mut vip = standby();
    report.status(&status(vec![vip.clone()]));
    assert_eq!(report.health().ready(), Ok(()), "a standby that a hook made one");
    vip.desired.guard_alive = Some(false);
    vip.desired.reason = Some("the file says leader, but the Pgpool watchdog process that said so is gone".to_owned());
    report.status(&status(vec![vip.clone()]));
    assert_eq!(
        report.health().ready().unwrap_err(),
        ["20.0.0.50: watchdog gone: the file says leader, but the Pgpool watchdog process that said so is gone"]
    );
    assert!(report.metrics().contains("vipkeeper_watchdog_gone{vip=\"20.0.0.50\"} 1\n"), "{}", report.metrics());
    vip.desired.watchdog_leads = Some(false);
    report.status(&status(vec![vip]));
    assert_eq!(report.health().ready(), Ok(()), "Pgpool runs again, and says that this node stands by");
    assert!(report.metrics().contains("vipkeeper_watchdog_gone{vip=\"20.0.0.50\"} 0\n"), "{}", report.metrics());
}

#[test]
fn a_source_that_is_not_read_any_more_keeps_nobody_from_being_ready() {
    let report = report();
    let mut status = status(vec![leader()]);
    report.status(&status);
    let source = Source::RouteTables;
    report.news(&News::ReadFailed { source, class: Class::Denied, error: "DescribeRouteTables: AuthFailure" });
    assert_eq!(report.health().ready().unwrap_err().len(), 1);
    // The config was changed, and names no route table any more.
    status.sources.retain(|told| told.source != source);
    report.status(&status);
    assert_eq!(report.health().ready(), Ok(()));
}

#[tokio::test]
async fn only_what_is_there_is_served_and_only_read() {
    let report = report();
    with_server(&report, async |address| {
        assert!(body(&get(address, "/").await).contains("/metrics"));
        let answer = get(address, "/etc/passwd").await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && body(&answer).contains("/readyz"), "{answer}");
        for method in ["POST", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let answer = ask(address, &format!("{method} /status HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        }
        let answer = ask(address, "HEAD /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && body(&answer).is_empty(), "{answer}");
        assert!(ask(address, "\x16\x03\x01 tls?\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    })
    .await;
}

#[tokio::test]
async fn every_answer_tells_the_browser_to_run_load_and_keep_nothing() {
    let report = report();
    report.status(&status(vec![leader()]));
    with_server(&report, async |address| {
        let paths = [
            ("/", "text/html; charset=utf-8"),
            ("/still", "text/html; charset=utf-8"),
            ("/runbook", "text/html; charset=utf-8"),
            ("/style.css", "text/css; charset=utf-8"),
            ("/status", "application/json"),
            ("/healthz", "text/plain; charset=utf-8"),
            ("/nowhere", "text/plain; charset=utf-8"),
        ];
        for (path, content_type) in paths {
            let answer = get(address, path).await;
            for header in [
                &format!("content-type: {content_type}"),
                "content-security-policy: default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
                 form-action 'none'",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "cache-control: no-store",
            ] {
                assert!(answer.contains(&format!("\r\n{header}\r\n")), "{path}: {header}: {answer}");
            }
            let inline = ["<script", "<style", " style=", " onclick", "javascript:"];
            assert!(inline.iter().all(|inline| !answer.contains(inline)), "{path}: {answer}");
        }
        assert!(body(&get(address, "/").await).contains("20.0.0.50"));
        assert!(body(&get(address, "/runbook").await).contains("<h2 id=\"contested\">"));
    })
    .await;
}

#[tokio::test]
async fn a_web_site_that_resolves_to_loopback_learns_nothing() {
    let report = report();
    report.status(&status(vec![leader()]));
    with_server(&report, async |address| {
        for path in ["/", "/still", "/runbook", "/style.css", "/metrics", "/status", "/healthz", "/readyz", "/nowhere"]
        {
            let by_name =
                async |host: &str| ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
            let answer = by_name("evil.example:9813").await;
            assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("20.0.0.50"), "{path}: {answer}");
            for host in ["127.0.0.1:9813", "[::1]", "localhost:4711"] {
                assert!(!by_name(host).await.starts_with("HTTP/1.1 421 "), "{path}, {host}");
            }
        }
        assert!(ask(address, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        assert!(ask(address, "GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
    })
    .await;
}

#[tokio::test]
async fn a_listener_on_all_addresses_answers_a_web_site_by_loopback_neither() {
    let report = report();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        with_server_at(listen, &report, async |address| {
            let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], address.port()));
            let by_name = async |host: &str| ask(loopback, &format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
            assert!(by_name("evil.example").await.starts_with("HTTP/1.1 421 "), "{listen}");
            assert!(!by_name("localhost").await.starts_with("HTTP/1.1 421 "), "{listen}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let report = report();
    with_server(&report, async |address| {
        let big = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\ncookie: {}\r\n\r\n", "x".repeat(100_000));
        let answer = ask(address, &big).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        let nine = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\ncookie: {}\r\n\r\n", "x".repeat(9 << 10));
        assert!(ask(address, &nine).await.starts_with("HTTP/1.1 431 "));
        let seven = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\ncookie: {}\r\n\r\n", "x".repeat(7 << 10));
        assert!(ask(address, &seven).await.starts_with("HTTP/1.1 200 "));
    })
    .await;
}

#[tokio::test]
async fn clients_that_do_not_ask_shut_nobody_out() {
    let report = report();
    with_server(&report, async |address| {
        let mut half_open = Vec::new();
        for _ in 0..400 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /met").await.unwrap();
            half_open.push(stream);
        }
        let start = Instant::now();
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        let mut rest = Vec::new();
        let _ = half_open[0].read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
        // The last one has its place for as long as no other needs it, and is then told why it goes.
        half_open[399].read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{rest:?}");
    })
    .await;
}

#[tokio::test]
async fn clients_that_do_not_read_hold_others_up_for_a_moment() {
    let report = report();
    // More than the kernel keeps for a client that does not read.
    let mut much = status(vec![leader()]);
    much.sources[0].error = Some("x".repeat(16 << 20));
    report.status(&much);
    with_server(&report, async |address| {
        let mut unread = Vec::new();
        for _ in 0..60 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            unread.push(stream);
        }
        let start = Instant::now();
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    })
    .await;
}

#[tokio::test]
async fn metrics_are_rendered_at_most_once_a_second() {
    let report = report();
    with_server(&report, async |address| {
        let passes = async || {
            let answer = get(address, "/metrics").await;
            let line = body(&answer).lines().find(|line| line.contains("vipkeeper_passes_total{result=\"in_sync\"}"));
            line.unwrap().split(' ').next_back().unwrap().to_owned()
        };
        assert_eq!(passes().await, "0");
        let start = Instant::now();
        report.news(&News::PassDone { result: PassResult::InSync, duration: Duration::ZERO });
        let at_once = passes().await;
        assert!(at_once == "0" || start.elapsed() >= Duration::from_secs(1), "rendered for each who asks");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(passes().await, "1");
    })
    .await;
}

#[test]
fn a_loop_that_does_not_turn_holds_no_answer_up_and_a_flood_holds_up_no_report() {
    let report = Arc::new(report());
    report.status(&status(vec![leader()]));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let _listener = http::start(address, Arc::clone(&report), move |outcome| tell.send(outcome).unwrap()).unwrap();
    let error = told.recv().unwrap().unwrap_err();
    assert!(error.contains("cannot listen"), "{error}");
    drop(free);
    while let Err(error) = told.recv_timeout(Duration::from_secs(10)).expect("the address is tried again") {
        assert!(error.contains("cannot listen"), "{error}");
    }

    // This thread stands for the loop: while it waits here, it does not turn, and is answered all the same.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let (is_over, served) = (Arc::clone(&is_over), Arc::clone(&served));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    while !is_over.load(Ordering::Relaxed) {
                        assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200 "));
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
            })
        })
        .collect();
    while served.load(Ordering::Relaxed) < 100 {
        assert!(runtime.block_on(get(address, "/healthz")).starts_with("HTTP/1.1 200 "));
    }
    let start = Instant::now();
    for _ in 0..20 {
        report.news(&News::PassDone { result: PassResult::InSync, duration: Duration::ZERO });
        report.status(&status(vec![leader()]));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    is_over.store(true, Ordering::Relaxed);
    for client in flood {
        client.join().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_trickles_is_cut_off() {
    let report = report();
    with_server(&report, async |address| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let start = Instant::now();
        for byte in b"GET / HTTP/1.1\r\nhost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".chunks(1) {
            if stream.write_all(byte).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    })
    .await;
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_says_what_to_do() {
    let taken = http::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = http::listen(address).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} for metrics and health: ")), "{error}");
    assert!(error.contains("metrics.listen"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_taken_at_the_start_and_free_later_is_served_then() {
    let other = http::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = other.local_addr().unwrap();
    let (told, mut tries) = tokio::sync::mpsc::unbounded_channel();
    let _listener = http::start(address, Arc::new(report()), move |outcome| drop(told.send(outcome))).unwrap();
    let error = tries.recv().await.unwrap().unwrap_err();
    assert!(error.starts_with(&format!("cannot listen on {address} ")), "{error}");
    drop(other);
    let served = async { while tries.recv().await.unwrap().is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it is tried again each second");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
}
