//! Status documents, which other nodes and older programs write, and the pages that are made of them.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use vipkeeper::shown::is_unsafe;
use vipkeeper::status::document::StatusDocument;
use vipkeeper::status::frame::Refresh;
use vipkeeper::status::html;
use vipkeeper::status::page::{DaemonLife, Overall, Style, page};
use vipkeeper::status::picture;
use vipkeeper::status::story::{NodeEvents, Story};

use super::Fuzz;
use crate::statuses::{self, NOW_MS};

const STYLE: Style = Style { width: None, colour: false };

/// Some events of a failover, as `/status` has them.
const EVENTS: &str = r#"[
    {"number":1,"at_ms":1799999000000,"boot_ms":5000,"kind":"started","what":"the daemon started, version 0.1.0"},
    {"number":2,"at_ms":1799999940000,"boot_ms":945000,"kind":"role","vip":"20.0.0.50","what":"wanted as leader","outcome":"leader"},
    {"number":3,"at_ms":1799999940010,"vip":"20.0.0.50","kind":"claim","about":"1799999940000","what":"claiming the VIP"},
    {"number":4,"at_ms":1799999940200,"vip":"20.0.0.50","kind":"change_failed","what":"ReplaceRoute","why":"no","action":"replace_route","call":"ReplaceRoute","outcome":"denied","code":"UnauthorizedOperation","took_ms":80,"times":2,"last_ms":1799999940700},
    {"number":5,"at_ms":1799999942400,"vip":"20.0.0.50","kind":"gained","what":"the VIP is here","took_ms":2400},
    {"number":6,"at_ms":1799999943000,"vip":"20.0.0.50","kind":"lost","what":"the VIP is elsewhere"}
]"#;

fn good() -> Vec<u8> {
    let vips = [
        statuses::leader(),
        statuses::standby(),
        statuses::denied(),
        statuses::unrecorded(),
        statuses::unread_claims(),
    ];
    let mut document = serde_json::to_value(statuses::status(vips.to_vec())).unwrap();
    document["events"] = serde_json::from_str(EVENTS).unwrap();
    document["clock"] =
        serde_json::json!({"ahead_ms": 1200, "error_ms": 90, "synchronized": false, "max_error_ms": 16});
    serde_json::to_vec(&document).unwrap()
}

#[test]
fn whatever_a_status_document_says_its_pages_can_be_read() {
    let words =
        &["\"events\":", "\"vips\":[", "\"state\":", "\"problems\":[]", "\"at_ms\":", "\"offset_ms\":", "null", "{}"];
    let good = good();
    let mut fuzz = Fuzz::new("status document", &[&good], words);
    while let Some(input) = fuzz.next() {
        let result = match serde_json::from_slice::<StatusDocument>(&input.bytes) {
            Ok(StatusDocument { status, events }) => {
                let mut said = HashSet::new();
                for now_ms in [NOW_MS, 0, u64::MAX] {
                    let document = StatusDocument { status: &status, events: &events };
                    let text = page(document, DaemonLife::Alive, now_ms, STYLE);
                    assert!(!text.contains(|c| c != '\n' && is_unsafe(c)), "{text:?}");
                    assert!(html::page(document, now_ms, Refresh::Often).ends_with("</html>"));
                    said.insert(format!("{:?}", Overall::of(&status, DaemonLife::Alive, now_ms)));
                }
                let story = Story::of([NodeEvents::new(&status, events)]);
                for since in [Duration::from_hours(1), Duration::MAX] {
                    let episodes = story.failovers(since, None);
                    let text = story.text(&episodes, STYLE);
                    assert!(!text.contains(|c| c != '\n' && is_unsafe(c)), "{text:?}");
                    for episode in &episodes {
                        assert!(picture::draw(&story, episode).ends_with("</svg>\n"));
                    }
                }
                format!("{} {}", said.len(), status.vips.len())
            }
            Err(error) => error.to_string(),
        };
        fuzz.came_of_it(&input, &result);
    }
}

#[test]
fn the_good_document_has_what_the_damage_needs() {
    let StatusDocument { status, events }: StatusDocument = serde_json::from_slice(&good()).unwrap();
    assert!(status.vips.len() == 5 && events.iter().len() > 4);
    assert!(events.iter().all(|event| event.kind.known().is_some()), "{events:?}");
    let story = Story::of([NodeEvents::new(&status, events)]);
    assert_eq!(story.failovers(Duration::from_hours(1), None).len(), 1);
    let value: Value = serde_json::from_slice(&good()).unwrap();
    assert!(value["clock"].is_object());
}
