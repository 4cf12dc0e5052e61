//! Enums that are closed sets of words: each variant has a name in metrics, status and logs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An enum that the macro `names!` made.
pub trait Named: Copy + Eq + 'static {
    /// The word in metrics, status and logs.
    fn word(self) -> &'static str;
    /// The variant that the word names, if it names one.
    fn of_word(word: &str) -> Option<Self>;
}

/// A word of a closed set, as a document has it. A document of a newer program may have words that this program does
/// not know. Such words are kept as they are, so that everything else in the document can still be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OneOf<T> {
    Known(T),
    Other(String),
}

impl<T: Named> OneOf<T> {
    /// The word as a document has it.
    #[must_use]
    pub fn of_word(word: String) -> Self {
        T::of_word(&word).map_or(Self::Other(word), Self::Known)
    }

    /// The word itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.word(),
            Self::Other(word) => word,
        }
    }

    /// The variant; `None` if the word is not known to this program.
    #[must_use]
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(known) => Some(*known),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for OneOf<T> {
    fn from(known: T) -> Self {
        Self::Known(known)
    }
}

impl<T: PartialEq> PartialEq<T> for OneOf<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(known) if known == other)
    }
}

impl<T: Named> fmt::Display for OneOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<T: Named> Serialize for OneOf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Named> Deserialize<'de> for OneOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::of_word)
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in metrics, status and logs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The variant that the word names, if it names one.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl $crate::names::Named for $name {
            fn word(self) -> &'static str {
                self.name()
            }

            fn of_word(word: &str) -> Option<Self> {
                Self::from_name(word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use names;
