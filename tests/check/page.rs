//! The page and the document.

use std::time::Duration;

use vipkeeper::check::{Category, judge};
use vipkeeper::commands::check::check_for;
use vipkeeper::machine::kernel::KernelError;

use crate::golden;
use crate::support::in_paused_time;
use crate::well::*;

#[test]
fn the_page_and_the_document_are_as_they_were() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        golden::check("check-well.txt", &judged(&facts).page());
        facts.machine.state_dir.1.as_mut().unwrap().is_in_memory = false;
        let message = "Operation not permitted (os error 1)".to_owned();
        facts.machine.view = Err(KernelError::Kernel { doing: "list the local addresses".to_owned(), message });
        facts.pgpool.conf = Err("there is no /etc/pgpool2/pgpool.conf".to_owned());
        let results = judged(&facts);
        golden::check("check-faults.txt", &results.page());
        golden::check("check-faults.json", &(serde_json::to_string_pretty(&results).unwrap() + "\n"));
    });
}

#[test]
fn checks_of_some_categories_count_alone() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        facts.machine.state_dir.1 = Err("No such file or directory".to_owned());
        facts.pgpool.conf = Err("there is none".to_owned());
        let some = |categories: &[Category]| judge(&facts, categories).summary.exit_code();
        assert_eq!(some(&[Category::Clock, Category::Kernel]), 0);
        assert_eq!(some(&[Category::Pgpool]), 3);
        assert_eq!(some(&[Category::Pgpool, Category::Config]), 1);
        let page = judge(&facts, &[Category::Clock]).page();
        assert_eq!(page.lines().last(), Some("2 ok. These checks find no fault. Nothing was changed."));
    });
}

#[test]
fn a_text_of_others_stays_on_its_line() {
    in_paused_time(async {
        let mut facts = Stage::new().facts().await;
        facts.pgpool.conf = Err("a file\u{1b}[2J\nnamed badly".to_owned());
        assert!(judged(&facts).page().contains("a file\\u{1b}[2J\\nnamed badly"));
    });
}

#[test]
fn a_check_that_waits_ends_with_the_first_that_does_not_fail_or_with_its_time() {
    in_paused_time(async {
        let stage = Stage::new();
        let (well, mut broken) = (stage.facts().await, stage.facts().await);
        broken.machine.state_dir.1 = Err("No such file or directory".to_owned());
        let clock = stage.estate.clock;
        let mends_at = clock.now() + Duration::from_secs(7);
        let once = async || judged(if clock.now() < mends_at { &broken } else { &well });
        assert_eq!(check_for(None, once).await.summary.exit_code(), 1, "it is checked once");
        assert_eq!(clock.now(), mends_at - Duration::from_secs(7));
        assert_eq!(check_for(Some(Duration::from_secs(4)), once).await.summary.exit_code(), 1);
        assert_eq!(clock.now(), mends_at - Duration::from_secs(3));
        assert_eq!(check_for(Some(Duration::from_secs(60)), once).await.summary.exit_code(), 0);
        assert_eq!(clock.now(), mends_at + Duration::from_secs(1));
    });
}
