//! The view of operators: metrics, health, log lines, the status file and the page made of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait, and look at its environment"
)]

#[path = "report/advice.rs"]
mod advice;
#[path = "report/browser.rs"]
mod browser;
#[path = "report/by_hand.rs"]
mod by_hand;
#[path = "report/captured.rs"]
mod captured;
#[path = "report/events.rs"]
mod events;
#[path = "report/file.rs"]
mod file;
#[path = "report/golden.rs"]
mod golden;
#[path = "report/html.rs"]
mod html;
#[path = "report/http.rs"]
mod http;
#[path = "report/log.rs"]
mod log;
#[path = "report/metrics.rs"]
mod metrics;
#[path = "report/page.rs"]
mod page;
#[path = "report/reasons.rs"]
mod reasons;
#[path = "report/situations.rs"]
mod situations;
#[path = "report/statuses.rs"]
mod statuses;
