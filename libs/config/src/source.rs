//! Where values come from: a file, the environment, flags.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::load::Problem;
use crate::names::{PREFIX, variable};
use crate::value::Raw;

/// The file that is read when nobody names one; it need not exist.
const USUAL_FILE: &str = "openorder.toml";
/// The variable that names the file.
const FILE_VARIABLE: &str = "OPENORDER_CONFIG";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Variable(String),
    /// `--set key=value`
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag => f.write_str("flag --set"),
        }
    }
}

/// All layers above the defaults. A process uses [`Sources::of_process`]; tests put them together.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    variables: Vec<(String, Result<String, OsString>)>,
    flags: Vec<String>,
    renamed: &'static [(&'static str, &'static str)],
}

impl Sources {
    /// Nothing but the defaults.
    #[must_use]
    pub fn defaults() -> Self {
        Self::default()
    }

    /// What this process was given: the file named by `--config`, else by `OPENORDER_CONFIG`, else
    /// `./openorder.toml` if it exists; its environment; its `--set` flags.
    #[must_use]
    pub fn of_process(config: Option<PathBuf>, flags: Vec<String>) -> Self {
        let named = config.or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from));
        let usual = || Some(PathBuf::from(USUAL_FILE)).filter(|usual| usual.exists());
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with(PREFIX).then(|| (name, value.into_string()))
        });
        Self { file: named.or_else(usual), variables: ours.collect(), flags, renamed: &[] }
    }

    /// With the former names of settings, each with the name of today. A former name is still refused; the refusal says
    /// what the setting is called now.
    #[must_use]
    pub fn with_renamed(mut self, renamed: &'static [(&'static str, &'static str)]) -> Self {
        self.renamed = renamed;
        self
    }

    /// The name of today of a setting, given by a former one.
    pub(crate) fn renamed(&self, former: &str) -> Option<&'static str> {
        self.renamed.iter().find(|(key, _)| *key == former || variable(key) == former).map(|(_, now)| *now)
    }

    /// With this TOML file.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), Ok(value.into())));
        self
    }

    /// With this flag, `key=value`.
    #[must_use]
    pub fn with_flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// The values of all layers, the first one the weakest.
    pub(crate) fn values(&self, problems: &mut Vec<Problem>) -> Vec<Given> {
        let mut values = Vec::new();
        if let Some(path) = &self.file {
            read_file(path, &mut values, problems);
        }
        for (name, value) in &self.variables {
            let source = Source::Variable(name.clone());
            match value {
                Ok(text) => values.push(Given { name: name.clone(), raw: Raw::Text(text.clone()), source }),
                Err(_) => problems.push(Problem::of(source, "is not valid UTF-8")),
            }
        }
        for flag in &self.flags {
            match flag.split_once('=') {
                Some((key, value)) => values.push(Given {
                    name: key.trim().to_owned(),
                    raw: Raw::Text(value.to_owned()),
                    source: Source::Flag,
                }),
                // The text may be a secret that lost its key: it is not repeated.
                None => problems.push(Problem::of(Source::Flag, "must have the form key=value")),
            }
        }
        values
    }
}

/// A value under the name that its layer has for it: a key, or a variable.
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) raw: Raw,
    pub(crate) source: Source,
}

fn read_file(path: &Path, values: &mut Vec<Given>, problems: &mut Vec<Problem>) {
    let source = Source::File(path.to_owned());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::of(source, format!("cannot be read: {error}")));
            return;
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => flatten("", table, &source, values),
        Err(error) => {
            // The error's own text quotes the line, and a secret may stand there.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            let what = format!("is not TOML: line {line}: {}", error.message());
            problems.push(Problem::of(source, what));
        }
    }
}

fn flatten(prefix: &str, table: toml::Table, source: &Source, values: &mut Vec<Given>) {
    for (name, value) in table {
        let key = crate::settings::build::key(prefix, &name);
        if let toml::Value::Table(table) = value {
            flatten(&key, table, source, values);
        } else {
            values.push(Given { name: key, raw: raw(value), source: source.clone() });
        }
    }
}

fn raw(value: toml::Value) -> Raw {
    match value {
        toml::Value::String(text) => Raw::Text(text),
        toml::Value::Integer(number) => Raw::Integer(number),
        toml::Value::Float(number) => Raw::Float(number),
        toml::Value::Boolean(truth) => Raw::Bool(truth),
        toml::Value::Datetime(_) => Raw::Other("a date"),
        toml::Value::Table(_) => Raw::Other("a table"),
        toml::Value::Array(values) => {
            let texts = values.into_iter().map(|value| match value {
                toml::Value::String(text) => Some(text),
                _ => None,
            });
            let texts: Option<Vec<String>> = texts.collect();
            texts.map_or(Raw::Other("an array of other things than texts"), Raw::List)
        }
    }
}
