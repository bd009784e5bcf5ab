//! The layers put on one another, and the report of what came from where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::names::{is_others, nearest, variable};
use crate::secret::HIDDEN;
use crate::settings::{Leaf, Settings, Visitor};
use crate::source::{Given, Source, Sources};

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, where it is known.
    pub key: Option<String>,
    /// Where the value came from.
    pub source: Source,
    /// What is wrong, and what is allowed; never a secret.
    pub message: String,
}

impl Problem {
    pub(crate) fn of(source: Source, message: impl Into<String>) -> Self {
        Self { key: None, source, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key} ({}): {}", self.source, self.message),
            None => write!(f, "{}: {}", self.source, self.message),
        }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s):", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One setting as `openorder config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Such as `order.saga_step_timeout_ms`.
    pub key: String,
    /// Such as `OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS`.
    pub variable: String,
    /// The value, secrets hidden.
    pub value: String,
    /// The default, secrets hidden.
    pub default: String,
    /// Where the value came from.
    pub source: Source,
    /// What is allowed.
    pub allowed: String,
    /// What it means.
    pub doc: String,
}

/// Settings that hold to all their bounds, and the report on them.
#[derive(Clone, Debug)]
pub struct Loaded<S> {
    /// The settings.
    pub settings: S,
    rows: Vec<Row>,
}

impl<S> Loaded<S> {
    /// Every setting with its value, where that came from, and what it means, in the order of
    /// declaration. Secrets are hidden.
    #[must_use]
    pub fn explain(&self) -> &[Row] {
        &self.rows
    }
}

/// Puts file, environment and flags on the defaults, the later ones on the earlier ones.
///
/// # Errors
/// Everything that is wrong, at once: values that are not allowed (also where a later layer overrides
/// them), values that contradict each other, names that no setting has, files that cannot be read.
pub fn load<S: Settings>(sources: &Sources) -> Result<Loaded<S>, ConfigErrors> {
    let mut problems = Vec::new();
    let mut settings = S::default();
    let mut report = Report::default();
    settings.visit("", &mut report);
    let names = Names::of(&report.rows, &mut problems);

    let mut apply = Apply::default();
    for given in sources.values(&mut problems) {
        match names.key(&given, sources) {
            Ok(Some(key)) => apply.values.entry(key.to_owned()).or_default().push(given),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    settings.visit("", &mut apply);
    problems.append(&mut apply.problems);
    if !problems.is_empty() {
        return Err(ConfigErrors(problems));
    }

    let defaults = std::mem::take(&mut report.rows);
    settings.visit("", &mut report);
    let rows = report.rows.into_iter().zip(defaults).map(|(row, default)| Row {
        default: default.value,
        source: apply.sources.remove(&row.key).unwrap_or(Source::Default),
        ..row
    });
    let rows = rows.collect();
    Ok(Loaded { settings, rows })
}

/// Checks settings that were put together by code against their bounds, the defaults of a struct for
/// example.
///
/// # Errors
/// Every setting that is out of bounds.
pub fn check<S: Settings>(settings: &S) -> Result<(), ConfigErrors> {
    let mut check = Check::default();
    settings.clone().visit("", &mut check);
    if check.0.is_empty() { Ok(()) } else { Err(ConfigErrors(check.0)) }
}

/// The known names of all settings.
struct Names {
    by_key: BTreeSet<String>,
    by_variable: BTreeMap<String, String>,
}

impl Names {
    fn of(rows: &[Row], problems: &mut Vec<Problem>) -> Self {
        let mut by_variable: BTreeMap<String, String> = BTreeMap::new();
        for row in rows {
            if let Some(other) = by_variable.insert(row.variable.clone(), row.key.clone()) {
                let what = format!("{} and {other} share {}", row.key, row.variable);
                problems.push(Problem::of(Source::Default, what));
            }
        }
        let by_key = rows.iter().map(|row| row.key.clone()).collect();
        Self { by_key, by_variable }
    }

    /// The key of a value; none when it is somebody else's variable.
    fn key(&self, given: &Given, sources: &Sources) -> Result<Option<&str>, Problem> {
        let name = given.name.as_str();
        let is_variable = matches!(given.source, Source::Variable(_));
        let found = if is_variable {
            self.by_variable.get(name).map(String::as_str)
        } else {
            self.by_key.get(name).map(String::as_str)
        };
        if found.is_none() && is_variable && is_others(name) {
            return Ok(None);
        }
        // Only what is not found is compared with all names: that takes long for a file of all settings.
        found.map(Some).ok_or_else(|| {
            let near = || {
                if is_variable {
                    nearest(name, self.by_variable.keys().map(String::as_str))
                } else {
                    nearest(name, self.by_key.iter().map(String::as_str))
                }
            };
            let hint = match sources.renamed(name) {
                Some(now) => format!(" any more; it is {now} now ({})", variable(now)),
                None => near().map(|near| format!("; did you mean {near}?")).unwrap_or_default(),
            };
            let what = format!("{name} is not a setting{hint}");
            Problem::of(given.source.clone(), what)
        })
    }
}

/// Writes down every setting.
#[derive(Default)]
struct Report {
    rows: Vec<Row>,
}

impl Visitor for Report {
    fn setting(&mut self, key: &str, doc: &[&'static str], value: &mut dyn Leaf) {
        let doc: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
        self.rows.push(Row {
            key: key.to_owned(),
            variable: variable(key),
            value: value.shown(),
            default: String::new(),
            source: Source::Default,
            allowed: value.allowed(),
            doc: doc.join(" "),
        });
    }
}

/// What is wrong where two settings contradict each other; `source` is where one of them came from.
fn contradiction(lower: &(&str, String), upper: &(&str, String), source: Source) -> Problem {
    Problem {
        key: Some(lower.0.to_owned()),
        source,
        message: format!("{} must not be more than {}, which is {}", lower.1, upper.0, upper.1),
    }
}

/// Sets what the layers give.
#[derive(Default)]
struct Apply {
    values: BTreeMap<String, Vec<Given>>,
    sources: BTreeMap<String, Source>,
    problems: Vec<Problem>,
}

impl Visitor for Apply {
    fn setting(&mut self, key: &str, _: &[&'static str], value: &mut dyn Leaf) {
        for given in self.values.remove(key).unwrap_or_default() {
            match value.set(&given.raw) {
                Ok(()) => {
                    self.sources.insert(key.to_owned(), given.source);
                }
                Err(allowed) => {
                    let shown = if value.is_secret() { HIDDEN.to_owned() } else { given.raw.shown() };
                    self.problems.push(Problem {
                        key: Some(key.to_owned()),
                        source: given.source,
                        message: format!("{shown} is not allowed; it must be {allowed}"),
                    });
                }
            }
        }
    }

    fn order(&mut self, lower: (&str, String), upper: (&str, String), holds: bool) {
        if !holds {
            let given = self.sources.get(lower.0).or_else(|| self.sources.get(upper.0));
            let source = given.cloned().unwrap_or(Source::Default);
            self.problems.push(contradiction(&lower, &upper, source));
        }
    }
}

/// Finds what is out of bounds.
#[derive(Default)]
struct Check(Vec<Problem>);

impl Visitor for Check {
    fn setting(&mut self, key: &str, _: &[&'static str], value: &mut dyn Leaf) {
        if let Err(allowed) = value.check() {
            let shown = value.shown();
            self.0.push(Problem {
                key: Some(key.to_owned()),
                source: Source::Default,
                message: format!("{shown} is not allowed; it must be {allowed}"),
            });
        }
    }

    fn order(&mut self, lower: (&str, String), upper: (&str, String), holds: bool) {
        if !holds {
            self.0.push(contradiction(&lower, &upper, Source::Default));
        }
    }
}
