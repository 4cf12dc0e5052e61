//! The frame of each page for browsers: head, title, navigation. A page works without any script, and its style sheet is
//! a document of its own, so that the browser can be told to run and load nothing else.

use maud::{DOCTYPE, Markup, html};

/// The style sheet of all pages.
pub const STYLE: &str = include_str!("style.css");

/// How often a browser loads a page again.
const REFRESH_S: u32 = 10;

/// The pages and documents of a node, and what each link to them says.
const PLACES: &[(&str, &str)] =
    &[("/", "Status"), ("/runbook", "Runbook"), ("/metrics", "Metrics"), ("/status", "JSON")];

/// Whether a browser loads the page again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    Often,
    Never,
}

/// The title of a page, its place, and whether it is loaded again.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    /// The path among [`PLACES`] to which the page belongs.
    pub(super) here: &'a str,
    pub(super) refresh: Refresh,
}

/// The whole document.
pub(super) fn framed(frame: &Frame<'_>, body: &Markup) -> String {
    let current = |path: &str| (path == frame.here).then_some("page");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if frame.refresh == Refresh::Often { meta http-equiv="refresh" content=(REFRESH_S); }
                title { (frame.title) }
                link rel="stylesheet" href="/style.css";
            }
            body {
                nav aria-label="Pages" {
                    ul {
                        @for (path, name) in PLACES { li { a href=(path) aria-current=[current(path)] { (name) } } }
                    }
                }
                (body)
            }
        }
    }
    .into_string()
}
