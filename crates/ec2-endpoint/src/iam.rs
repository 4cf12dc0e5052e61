//! IAM policies: whether one allows a call, by action, resource and condition.
//!
//! Pure. A policy in which this module does not know an operator or a condition key is refused as a whole, so that no
//! test passes because a condition was overlooked. Where the documents leave open which resources EC2 checks, all that
//! it may check are checked: a policy that is enough here is enough there.

mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::Deserialize;

use crate::{Account, Operation};
use needs::{Context, Need, needs};

/// One identity-based policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    version: String,
    statement: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    sid: String,
    effect: Effect,
    action: OneOrMany,
    resource: OneOrMany,
    #[serde(default)]
    condition: BTreeMap<Operator, BTreeMap<String, OneOrMany>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Operator {
    StringEquals,
    StringLike,
    Null,
    #[serde(rename = "ForAllValues:StringEquals")]
    AllStringEquals,
    #[serde(rename = "ForAllValues:StringLike")]
    AllStringLike,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A text that is no policy, or one that this module cannot judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no policy that can be judged: {0}")]
pub struct InvalidPolicy(String);

/// A call that a policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The action by its full name, like `ec2:ReplaceRoute`.
    pub action: String,
    /// The ARN, or `*`.
    pub resource: String,
    /// Whether a statement denies the call, and not only none allows it.
    pub is_explicit: bool,
}

impl FromStr for Policy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let policy: Self = serde_json::from_str(text).map_err(|error| InvalidPolicy(error.to_string()))?;
        if policy.version != "2012-10-17" {
            return Err(InvalidPolicy(format!("Version {}", policy.version)));
        }
        let mut sids = BTreeSet::new();
        for statement in &policy.statement {
            if !sids.insert(&statement.sid) || !statement.sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(InvalidPolicy(format!("Sid {}", statement.sid)));
            }
            let keys = statement.condition.values().flat_map(BTreeMap::keys);
            if let Some(unknown) = keys.into_iter().find(|key| !Context::knows(key)) {
                return Err(InvalidPolicy(format!("condition key {unknown}")));
            }
        }
        Ok(policy)
    }
}

impl Policy {
    /// The names of the statements, in their order.
    pub fn sids(&self) -> impl Iterator<Item = &str> {
        self.statement.iter().map(|statement| statement.sid.as_str())
    }

    /// The actions that a statement names.
    pub fn actions_of(&self, sid: &str) -> &[String] {
        self.statement.iter().find(|statement| statement.sid == sid).map_or(&[], |statement| statement.action.all())
    }

    /// The policy without one statement.
    #[must_use]
    pub fn without(&self, sid: &str) -> Self {
        let mut less = self.clone();
        less.statement.retain(|statement| statement.sid != sid);
        less
    }

    /// The policy without one action of one statement.
    #[must_use]
    pub fn without_action(&self, sid: &str, action: &str) -> Self {
        let mut less = self.clone();
        for statement in less.statement.iter_mut().filter(|statement| statement.sid == sid) {
            let kept = statement.action.all().iter().filter(|one| *one != action).cloned().collect();
            statement.action = OneOrMany::Many(kept);
        }
        less
    }

    /// The policy with one resource alone in one statement: the resource with this id.
    #[must_use]
    pub fn with_resource_of(&self, sid: &str, id: &str) -> Self {
        let mut less = self.clone();
        for statement in less.statement.iter_mut().filter(|statement| statement.sid == sid) {
            let kept = statement.resource.all().iter().filter(|arn| arn.ends_with(&format!("/{id}"))).cloned();
            statement.resource = OneOrMany::Many(kept.collect());
        }
        less
    }

    /// Judges a call by everything that it needs.
    ///
    /// # Errors
    /// The first need that is not allowed.
    pub fn judge(&self, account: &Account, operation: &Operation) -> Result<(), Denial> {
        for need in needs(account, operation) {
            let matching = |effect| {
                let of_effect = self.statement.iter().filter(move |statement| statement.effect == effect);
                of_effect.filter(|statement| statement.matches(&need)).count() > 0
            };
            let is_explicit = matching(Effect::Deny);
            if is_explicit || !matching(Effect::Allow) {
                let Need { action, resource, .. } = need;
                return Err(Denial { action, resource, is_explicit });
            }
        }
        Ok(())
    }
}

impl Statement {
    fn matches(&self, need: &Need) -> bool {
        let any = |patterns: &OneOrMany, text: &str| patterns.all().iter().any(|pattern| like(pattern, text));
        let holds = |(operator, keys): (&Operator, &BTreeMap<String, OneOrMany>)| {
            keys.iter().all(|(key, wanted)| operator.holds(need.context.values(key), wanted.all()))
        };
        any(&self.action, &need.action) && any(&self.resource, &need.resource) && self.condition.iter().all(holds)
    }
}

impl Operator {
    /// Whether the condition holds. `values` are those of the request; `None` where the request has no such key.
    fn holds(self, values: Option<&[String]>, wanted: &[String]) -> bool {
        let equal = |value: &String| wanted.contains(value);
        let alike = |value: &String| wanted.iter().any(|pattern| like(pattern, value));
        match self {
            Self::StringEquals => values.is_some_and(|values| values.iter().any(equal)),
            Self::StringLike => values.is_some_and(|values| values.iter().any(alike)),
            // `ForAllValues` also holds where there is no value at all.
            Self::AllStringEquals => values.is_none_or(|values| values.iter().all(equal)),
            Self::AllStringLike => values.is_none_or(|values| values.iter().all(alike)),
            Self::Null => wanted.iter().any(|wanted| *wanted == values.is_none().to_string()),
        }
    }
}

/// Whether the text matches the pattern, in which `*` stands for any text and `?` for one character.
fn like(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = rest.as_str();
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| like(rest, &text[at..]))
        }
        Some(first) => {
            let mut others = text.chars();
            others.next().is_some_and(|one| first == '?' || first == one) && like(rest.as_str(), others.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_any_text_and_one_character() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("ec2:Describe*", "ec2:DescribeTags", true),
            ("ec2:Describe*", "ec2:CreateTags", false),
            ("a*c*e", "abcde", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("vipkeeper/20.0.0.50/*", "vipkeeper/20.0.0.5/i-1", false),
        ] {
            assert_eq!(like(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn a_policy_that_cannot_be_judged_is_refused() {
        let statement = |more: &str| {
            let statement = r#""Sid": "A", "Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*""#;
            format!(r#"{{"Version": "2012-10-17", "Statement": [{{{statement}{more}}}]}}"#)
        };
        statement("").parse::<Policy>().unwrap();
        for more in [
            r#", "Condition": {"StringEquals": {"ec2:Attribute": "SourceDestCheck"}}"#,
            r#", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#,
            r#", "NotAction": "ec2:*""#,
        ] {
            statement(more).parse::<Policy>().expect_err(more);
        }
    }
}
