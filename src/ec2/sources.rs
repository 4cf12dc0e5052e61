//! The answers of the sources of credentials, in the order in which the sources were asked, and the consequences for
//! the loop and for people. This module is pure.

use super::class::Class;
use super::reason::Reason;

/// The answer of one source of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAnswer {
    /// The source can be asked, and has no credentials. The text says why, and may be empty.
    Nothing(String),
    /// A setting forbids to ask the source.
    Off(String),
    /// The source did not answer, or its answer made no sense. It may answer later.
    Silent(String),
    /// The source refuses, or is set up wrongly.
    Refused(String),
    /// The source needs something that vipkeeper does not do.
    NotBuiltIn(String),
}

/// One source of credentials, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The source as people know it, with the address where it has one.
    pub source: String,
    pub answer: SourceAnswer,
}

impl SourceAnswer {
    /// The answer as the rest of a sentence that begins with the source.
    fn words(&self) -> String {
        match self {
            Self::Nothing(why) if why.is_empty() => "has none".to_owned(),
            Self::Nothing(why) => format!("has none ({why})"),
            Self::Off(why) => format!("is not asked ({why})"),
            Self::Silent(why) => format!("does not answer ({why})"),
            Self::Refused(why) => format!("gives none ({why})"),
            Self::NotBuiltIn(why) => format!("cannot be used ({why})"),
        }
    }
}

/// All answers as one sentence.
#[must_use]
pub fn sentence(said: &[Said]) -> String {
    let all: Vec<_> = said.iter().map(|said| format!("{} {}", said.source, said.answer.words())).collect();
    format!("no credentials found: {}", all.join(", "))
}

/// The class of the failure. Only if each source has said its last word, an operator must act: a source that did not
/// answer may answer later.
#[must_use]
pub fn class(said: &[Said]) -> Class {
    if said.iter().any(|said| matches!(said.answer, SourceAnswer::Silent(_))) {
        Class::Transient
    } else {
        Class::Denied
    }
}

/// The reason that decides what people are told to do. A source that was meant to be used outweighs the sources that
/// have nothing.
#[must_use]
pub fn reason(said: &[Said]) -> Reason {
    let any = |which: fn(&SourceAnswer) -> bool| said.iter().any(|said| which(&said.answer));
    if any(|answer| matches!(answer, SourceAnswer::NotBuiltIn(_))) {
        Reason::SourceNotBuiltIn
    } else if any(|answer| matches!(answer, SourceAnswer::Silent(_))) {
        Reason::SourceSilent
    } else if any(|answer| matches!(answer, SourceAnswer::Refused(_))) {
        Reason::SourceRefuses
    } else if any(|answer| matches!(answer, SourceAnswer::Off(_))) {
        Reason::SourceOff
    } else {
        Reason::NoCredentials
    }
}

/// The thing that a profile needs and that vipkeeper does not do, by the SDK's text; `None` if the text names none.
#[must_use]
pub fn not_built_in(text: &str) -> Option<&'static str> {
    // The SDK names the parts of itself that are not built in.
    [
        ("credentials-process", "it needs credential_process, and vipkeeper starts no other program"),
        ("credentials-login", "it needs 'aws login', and vipkeeper logs nobody in"),
        ("sso", "it needs 'aws sso login', and vipkeeper logs nobody in"),
    ]
    .iter()
    .find(|(part, _)| text.contains("feature") && text.contains(part))
    .map(|(_, needs)| *needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answers: Vec<SourceAnswer>) -> Vec<Said> {
        let names = ["the environment", "the profile", "the metadata service at http://169.254.169.254"];
        names.iter().zip(answers).map(|(name, answer)| Said { source: (*name).to_owned(), answer }).collect()
    }

    #[test]
    fn only_where_each_source_said_its_last_word_an_operator_must_act() {
        let nothing = || SourceAnswer::Nothing("not set".to_owned());
        let text = || "why".to_owned();
        for (last, class_wanted, reason_wanted) in [
            (nothing(), Class::Denied, Reason::NoCredentials),
            (SourceAnswer::Off(text()), Class::Denied, Reason::SourceOff),
            (SourceAnswer::Refused(text()), Class::Denied, Reason::SourceRefuses),
            (SourceAnswer::Silent(text()), Class::Transient, Reason::SourceSilent),
            (SourceAnswer::NotBuiltIn(text()), Class::Denied, Reason::SourceNotBuiltIn),
        ] {
            let all = said(vec![nothing(), nothing(), last]);
            assert_eq!((class(&all), reason(&all)), (class_wanted, reason_wanted), "{all:?}");
        }
    }

    #[test]
    fn every_source_is_named_in_the_order_of_asking_with_its_answer() {
        let all = said(vec![
            SourceAnswer::Nothing("environment variable not set".to_owned()),
            SourceAnswer::Nothing(String::new()),
            SourceAnswer::Silent("connection refused".to_owned()),
        ]);
        assert_eq!(
            sentence(&all),
            "no credentials found: the environment has none (environment variable not set), the profile has none, the \
             metadata service at http://169.254.169.254 does not answer (connection refused)"
        );
    }

    #[test]
    fn the_sdks_words_for_what_is_not_built_in_become_the_profiles_keys() {
        let sdk =
            "ProfileFile provider could not be built: This behavior requires following cargo feature(s) enabled: ";
        for (part, key) in [("credentials-process", "credential_process"), ("sso", "aws sso login")] {
            let told = not_built_in(&format!("{sdk}{part}. In order to ...")).unwrap();
            assert!(told.contains(key), "{told}");
        }
        assert_eq!(not_built_in("profile `sso` was not defined"), None);
    }
}
