//! Which of the candidates a describe call shows: filters, then pages.

use crate::{ApiError, Describe, Filter, answer::Page};

use super::model::Tags;

/// Values that one filter may hold. EC2 API reference: FilterLimitExceeded.
const VALUES_PER_FILTER: usize = 200;

/// Something that a describe call lists.
pub trait Listed {
    /// The filters of the call, besides `tag:<key>`.
    const FILTERS: &'static [&'static str];

    /// The key that orders the list and marks the place where a page ends. Each item has a key of its own.
    fn key(&self) -> String;

    /// The values that a filter compares. The filter matches if one of them does.
    fn values(&self, filter: &str) -> Vec<String>;

    /// Keys and values.
    fn tags(&self) -> impl Iterator<Item = (&str, &str)>;
}

/// The tags of a resource, as [`Listed::tags`] wants them.
pub fn pairs(tags: &Tags) -> impl Iterator<Item = (&str, &str)> {
    tags.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// How a call may be cut into pages.
#[derive(Clone, Copy)]
pub struct Paging {
    pub largest: i32,
    /// Parameter that must not be given together with `MaxResults`; none where EC2 allows both.
    pub exclusive_ids: Option<&'static str>,
}

impl Paging {
    pub const UP_TO_100: Self = Self { largest: 100, exclusive_ids: None };
    pub const UP_TO_1000: Self = Self { largest: 1000, exclusive_ids: None };

    pub const fn without_ids(self, parameter: &'static str) -> Self {
        Self { exclusive_ids: Some(parameter), ..self }
    }

    /// Checks what the request says about pages. To be done before anything is looked up.
    pub fn check(self, request: &Describe) -> Result<(), ApiError> {
        let Some(wanted) = request.max_results else {
            return Ok(());
        };
        if let (Some(parameter), false) = (self.exclusive_ids, request.ids.is_empty()) {
            return Err(ApiError::combination(format!(
                "The parameter {parameter} cannot be used with the parameter maxResults"
            )));
        }
        if !(5..=self.largest).contains(&wanted) {
            return Err(ApiError::invalid_value(format!(
                "Value ( {wanted} ) for parameter maxResults is invalid. Expecting a value between 5 and {}.",
                self.largest
            )));
        }
        Ok(())
    }
}

/// The candidates that pass the filters, in order of their keys, cut to the page asked for.
pub fn select<T: Listed>(candidates: Vec<T>, request: &Describe) -> Result<Page<T>, ApiError> {
    check_filters::<T>(&request.filters)?;
    let after = request.next_token.as_deref().map(read_token).transpose()?;
    let mut items: Vec<(String, T)> = candidates
        .into_iter()
        .filter(|item| request.filters.iter().all(|filter| passes(item, filter)))
        .map(|item| (item.key(), item))
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
        .collect();
    items.sort_by(|(left, _), (right, _)| left.cmp(right));

    let room = request.max_results.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let next_token = (items.len() > room).then(|| write_token(&items[room - 1].0));
    items.truncate(room);
    Ok(Page { items: items.into_iter().map(|(_, item)| item).collect(), next_token })
}

fn check_filters<T: Listed>(filters: &[Filter]) -> Result<(), ApiError> {
    for filter in filters {
        let named_tag = filter.name.strip_prefix("tag:").is_some_and(|key| !key.is_empty());
        if !named_tag && !T::FILTERS.contains(&filter.name.as_str()) {
            return Err(ApiError::invalid_value(format!("The filter '{}' is invalid", filter.name)));
        }
        if filter.values.is_empty() {
            return Err(ApiError::missing_parameter("Filter.Value"));
        }
        if filter.values.len() > VALUES_PER_FILTER {
            return Err(ApiError::client(
                "FilterLimitExceeded",
                format!("The maximum number of filter values specified on a single call is {VALUES_PER_FILTER}"),
            ));
        }
    }
    Ok(())
}

fn passes<T: Listed>(item: &T, filter: &Filter) -> bool {
    let seen = match filter.name.strip_prefix("tag:") {
        Some(key) => item.tags().filter(|tag| tag.0 == key).map(|tag| tag.1.to_owned()).collect(),
        None if filter.name == "tag-key" => item.tags().map(|tag| tag.0.to_owned()).collect(),
        None => item.values(&filter.name),
    };
    filter.values.iter().any(|pattern| seen.iter().any(|value| matches(pattern, value)))
}

/// Whether the value fits the pattern: `*` any run, `?` any one character, backslash before either (or itself): as is.
fn matches(pattern: &str, value: &str) -> bool {
    enum Part {
        Run,
        One,
        Exactly(char),
    }
    let mut parts = Vec::new();
    let mut pattern = pattern.chars().peekable();
    while let Some(character) = pattern.next() {
        parts.push(match character {
            '*' => Part::Run,
            '?' => Part::One,
            '\\' => Part::Exactly(pattern.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\')),
            other => Part::Exactly(other),
        });
    }

    let value: Vec<char> = value.chars().collect();
    let (mut part, mut at) = (0, 0);
    // Where to go on if the newest `*` has to swallow one character more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (parts.get(part), value.get(at)) {
            (None, None) => return true,
            (Some(Part::Run), _) => {
                retry = Some((part + 1, at));
                part += 1;
                continue;
            }
            (Some(Part::One), Some(_)) => true,
            (Some(Part::Exactly(wanted)), Some(found)) => wanted == found,
            _ => false,
        };
        if step {
            (part, at) = (part + 1, at + 1);
        } else {
            match retry {
                Some((after_run, swallowed)) if swallowed < value.len() => {
                    retry = Some((after_run, swallowed + 1));
                    (part, at) = (after_run, swallowed + 1);
                }
                _ => return false,
            }
        }
    }
}

/// Opaque to callers: the key of the last item shown, so that a page neither repeats nor skips what stays in place.
fn write_token(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_token(token: &str) -> Result<String, ApiError> {
    let digits: Option<Vec<u8>> = token
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect();
    digits
        .filter(|key| !key.is_empty())
        .and_then(|key| String::from_utf8(key).ok())
        .ok_or_else(|| ApiError::client("InvalidNextToken", format!("The specified NextToken '{token}' is not valid")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_runs_and_single_characters() {
        for (pattern, value, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a**", "a", true),
            ("*ab", "aab", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\?\\", r"a?\", true),
            ("ABC", "abc", false),
            ("10.0.0.?", "10.0.0.12", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} on {value}");
        }
    }

    #[test]
    fn a_token_names_the_place_and_nothing_else_is_one() {
        assert_eq!(read_token(&write_token("rtb-1\u{0}é")).unwrap(), "rtb-1\u{0}é");
        for junk in ["", "abc", "zz", "ff", "é"] {
            assert_eq!(read_token(junk).unwrap_err().code, "InvalidNextToken", "{junk}");
        }
    }
}
