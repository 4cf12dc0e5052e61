//! The merged values of all layers, and the place of each value. figment lays the layers over one another and
//! remembers the layer of every value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::{ConfigProblem, Key, Place};
use super::text::{self, Document};
use super::values;

/// The variable that names the file. The file itself has no such key.
pub const FILE_VARIABLE: &str = "VIPKEEPER_CONFIG";

/// Variables that the AWS CLI and the SDKs honour, and the key of each. Such a variable counts only if nothing else
/// sets its key. Of two variables for one key, the first one that is set counts.
const AWS_VARIABLES: &[(&str, &[&str; 2])] = &[
    ("AWS_REGION", &["aws", "region"]),
    ("AWS_DEFAULT_REGION", &["aws", "region"]),
    ("AWS_CA_BUNDLE", &["aws", "ca_bundle"]),
    ("REQUESTS_CA_BUNDLE", &["aws", "ca_bundle"]),
];

/// Variables that name a proxy. No client can be made for a proxy whose URL cannot be read.
const PROXY_VARIABLES: [&str; 6] = ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];

/// The prefix of all variables for vipkeeper.
const PREFIX: &str = "VIPKEEPER_";

/// The separator between a table and its key in the name of a variable.
const NESTING: &str = "__";

/// Tables that may be written as a text, each with one of its keys. The text is the value of that key.
const SHORT_FORMS: &[(&str, &str)] = &[("claims", "mode")];

/// A flag that overrides one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag's name as people type it, like `--state-dir`.
    pub name: &'static str,
    /// The table and the key, like `["log", "level"]`.
    pub key: &'static [&'static str],
    pub value: String,
}

/// The merged values, and the data to find the place of each value.
pub(super) struct Layers {
    pub values: Dict,
    figment: Figment,
    file: PathBuf,
    document: Document,
    /// The problems found before the values were checked: an unreadable file, a line that is no TOML, an unusable
    /// variable.
    pub problems: Vec<ConfigProblem>,
}

impl Layers {
    /// Reads the file, then the variables, then the flags. Each layer overrides the layers before it.
    pub fn new(path: &Path, environment: &[(OsString, OsString)], flags: &[Flag]) -> Self {
        let mut problems = Vec::new();
        let mut document = read_file(path).unwrap_or_else(|found| {
            problems = found;
            Document::default()
        });
        let values = std::mem::take(&mut document.values);
        let mut figment = Figment::new();
        for (name, key) in AWS_VARIABLES.iter().rev() {
            if let Some(value) = variable(environment, name) {
                figment = figment.merge(Layer::setting(name, *key, Value::from(value.to_string_lossy().as_ref())));
            }
        }
        for name in PROXY_VARIABLES {
            let proxy = variable(environment, name).map_or(Ok(()), |url| values::proxy(&url.to_string_lossy()));
            if let Err(message) = proxy {
                problems.push(ConfigProblem { place: Place::Named(name.to_owned()), key: Key::default(), message });
            }
        }
        figment = figment.merge(Layer::new(Metadata::from("file", path), values));
        for (name, value) in variables(environment) {
            let path: Vec<_> = name[PREFIX.len()..].split(NESTING).map(str::to_ascii_lowercase).collect();
            match variable_value(&value) {
                Ok(value) => figment = figment.merge(Layer::setting(&name, &path, value)),
                Err(message) => {
                    problems.push(ConfigProblem { place: Place::Named(name), key: Key::default(), message });
                }
            }
        }
        for flag in flags {
            figment = figment.merge(Layer::setting(flag.name, flag.key, Value::from(flag.value.as_str())));
        }
        let mut profiles = figment.data().expect("no layer fails: what is wrong with it is in `problems`");
        let values = profiles.remove(&Profile::Default).unwrap_or_default();
        Self { values, figment, file: path.to_owned(), document, problems }
    }

    /// The place of the value with this key and tag.
    pub fn place(&self, key: &Key, tag: Tag) -> Place {
        match self.setting(tag) {
            Some(name) => Place::Named(name.to_owned()),
            None => Place::File { path: self.file.clone(), line: self.document.line(key), column: None },
        }
    }

    /// Whether the value is text because variables and flags have no other type.
    pub fn is_untyped(&self, tag: Tag) -> bool {
        self.setting(tag).is_some()
    }

    /// The name of the variable or flag that gave the value. `None` if the file gave the value.
    fn setting(&self, tag: Tag) -> Option<&str> {
        let metadata = self.figment.get_metadata(tag)?;
        metadata.source.is_none().then_some(&*metadata.name)
    }
}

/// The values of one source, and the source's description. A description with a path means the file; one without a
/// path means a variable or a flag.
struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Layer {
    /// Makes a layer and turns each short form into a table before the layers are merged. The text of one layer and
    /// the table of another then complete each other key by key. Otherwise the later layer would discard the whole
    /// earlier value.
    fn new(metadata: Metadata, mut values: Dict) -> Self {
        for (table, key) in SHORT_FORMS {
            if let Some(value) = values.get_mut(*table)
                && value.as_str().is_some()
            {
                *value = Value::from(Dict::from([((*key).to_owned(), value.clone())]));
            }
        }
        Self { metadata, values }
    }

    fn setting(name: &str, path: &[impl AsRef<str>], value: Value) -> Self {
        let nested =
            path.iter().rev().fold(value, |inner, key| Value::from(Dict::from([(key.as_ref().to_owned(), inner)])));
        let values = nested.into_dict().unwrap_or_default();
        Self::new(Metadata::named(name.to_owned()), values)
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

fn read_file(path: &Path) -> Result<Document, Vec<ConfigProblem>> {
    let problem = |position: Option<(usize, usize)>, message: String| {
        let (line, column) = position.unzip();
        ConfigProblem { place: Place::File { path: path.to_owned(), line, column }, key: Key::default(), message }
    };
    let bytes = std::fs::read(path)
        .map_err(|error| vec![problem(None, format!("cannot read the file: {error}; --config names another one"))])?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        vec![problem(
            Some(text::position(&good, good.len())),
            "is not UTF-8: save the file in that encoding".to_owned(),
        )]
    })?;
    Document::parse(&text).map_err(|errors| {
        errors.into_iter().map(|error| problem(error.position, format!("is not TOML: {}", error.message))).collect()
    })
}

/// One variable, by its name. An empty variable counts as not set, as usual.
fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let (_, value) = environment.iter().find(|(other, value)| other == name && !value.is_empty())?;
    Some(value)
}

/// The variables for vipkeeper, sorted by name, so that the variable of a table comes before the `__` variables of
/// its keys. An empty variable counts as not set, as usual.
fn variables(environment: &[(OsString, OsString)]) -> BTreeMap<String, OsString> {
    let names = environment.iter().map(|(name, value)| (name.to_string_lossy(), value));
    names
        .filter(|(name, value)| name.starts_with(PREFIX) && name != FILE_VARIABLE && !value.is_empty())
        .map(|(name, value)| (name.into_owned(), value.clone()))
        .collect()
}

/// Reads the value of a variable: plain text, or a list or a table as TOML writes it.
fn variable_value(value: &OsStr) -> Result<Value, String> {
    let text = value.to_str().ok_or("is not UTF-8")?;
    if text.starts_with(['[', '{']) {
        text::value(text).map_err(|error| format!("begins like a list or a table but is not TOML: {}", error.message))
    } else {
        Ok(Value::from(text))
    }
}
