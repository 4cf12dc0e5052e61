//! Errors that a page told already. One error is often the reason of several things; the page tells it whole where it
//! matters most, in the first lines about a VIP, and points there everywhere else.

use super::headline::Headline;
use super::layout::clean;
use super::{ConditionName, Status, VipStatus};

/// The words in the place of an error that stands above.
const AS_ABOVE: &str = "as above";

/// The errors that stand in the first lines about the VIPs of a page, the longest first.
pub(super) struct Above(Vec<String>);

impl Above {
    /// The errors that the first lines of this section tell.
    pub(super) fn of_vip(vip: &VipStatus, headline: &Headline, status: &Status) -> Self {
        Self::within(&headline.what, errors_of(vip).chain(errors_of_sources(status)))
    }

    /// The errors that the first lines of any section tell.
    pub(super) fn of_page(status: &Status, now_ms: u64) -> Self {
        let lines: Vec<_> = status.vips.iter().flat_map(|vip| Headline::of(vip, now_ms).what).collect();
        Self::within(&lines, errors_of_sources(status))
    }

    fn within<'a>(lines: &[String], errors: impl Iterator<Item = &'a str>) -> Self {
        let errors = errors.map(clean).filter(|error| !error.is_empty());
        let mut told: Vec<_> = errors.filter(|error| lines.iter().any(|line| line.contains(error))).collect();
        told.sort_by_key(|error| std::cmp::Reverse(error.len()));
        Self(told)
    }

    /// The text, in which each error that was told is replaced by a reference.
    pub(super) fn short(&self, text: &str) -> String {
        self.0.iter().fold(clean(text), |text, error| text.replace(error.as_str(), AS_ABOVE))
    }
}

fn errors_of(vip: &VipStatus) -> impl Iterator<Item = &str> {
    let changes = vip.bindings.iter().filter_map(|binding| binding.last_error.as_ref());
    let record = vip.claim.iter().filter_map(|claim| claim.record_error.as_ref());
    let recorded = vip.conditions.iter().filter(|condition| condition.name == ConditionName::ClaimRecorded);
    let whole = recorded.map(|condition| condition.message.as_str());
    changes.chain(record).map(|error| error.message.as_str()).chain(whole)
}

fn errors_of_sources(status: &Status) -> impl Iterator<Item = &str> {
    status.sources.iter().filter_map(|source| source.error.as_deref())
}
