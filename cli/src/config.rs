//! `openorder config`: what the settings are, where they come from, what is wrong with them.

use openorder_config::{ConfigErrors, Loaded, Row, Source, Sources};
use serde::Serialize;

use crate::args::{ConfigArgs, SettingsArgs};
use crate::check::check;
use crate::output::{self, Format};
use crate::roles::Role;
use crate::settings::ProcessSettings;

/// The settings of this process, checked for what it is to serve.
///
/// # Errors
/// Everything that is wrong with them, each with the file, variable or flag that it came from.
pub fn load(args: &SettingsArgs, roles: &[Role]) -> Result<Loaded<ProcessSettings>, ConfigErrors> {
    let sources = Sources::of_process(args.config.clone(), args.set.clone());
    load_from(&sources, roles)
}

fn load_from(sources: &Sources, roles: &[Role]) -> Result<Loaded<ProcessSettings>, ConfigErrors> {
    let loaded = openorder_config::load::<ProcessSettings>(sources)?;
    let mut problems = check(&loaded.settings, roles);
    for problem in &mut problems {
        let row = loaded.explain().iter().find(|row| Some(&row.key) == problem.key.as_ref());
        problem.source = row.map_or(Source::Default, |row| row.source.clone());
    }
    if problems.is_empty() { Ok(loaded) } else { Err(ConfigErrors(problems)) }
}

/// Runs the command.
///
/// # Errors
/// Everything that is wrong with the settings; where JSON was asked for, also as a document.
pub fn run(settings: &SettingsArgs, args: &ConfigArgs) -> anyhow::Result<()> {
    let loaded = load(settings, Role::ALL);
    match (args.check, args.output) {
        (true, Format::Json) => {
            let errors = loaded.as_ref().err().map(|errors| errors.0.as_slice()).unwrap_or_default();
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            output::json(&serde_json::json!({ "valid": errors.is_empty(), "errors": errors }))?;
            loaded?;
        }
        (true, Format::Text) => {
            let loaded = loaded?;
            let rows = loaded.explain();
            let given = rows.iter().filter(|row| row.source != Source::Default).count();
            let all = rows.len();
            output::line(format_args!("the settings can be used: {given} of {all} are not the default"));
        }
        (false, Format::Json) => output::json(&loaded?.explain().iter().map(Explained::from).collect::<Vec<_>>())?,
        (false, Format::Text) => table(loaded?.explain()).iter().for_each(output::line),
    }
    Ok(())
}

/// One setting, for programs.
#[derive(Serialize)]
struct Explained<'a> {
    key: &'a str,
    value: &'a str,
    default: &'a str,
    source: String,
    variable: &'a str,
    allowed: &'a str,
    doc: &'a str,
}

impl<'a> From<&'a Row> for Explained<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            key: &row.key,
            value: &row.value,
            default: &row.default,
            source: row.source.to_string(),
            variable: &row.variable,
            allowed: &row.allowed,
            doc: &row.doc,
        }
    }
}

/// A line a setting, in sections; names within a section, so that lines stay short.
fn table(rows: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for section in rows.chunk_by(|one, other| section_of(one) == section_of(other)) {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let name = section.first().map(section_of).unwrap_or_default();
        lines.push(format!("[{name}]"));
        let cells = section.iter().map(|row| {
            let key = row.key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(&row.key);
            let value = if row.value.is_empty() { "\"\"" } else { &row.value };
            vec![key.to_owned(), value.to_owned(), row.source.to_string(), row.doc.clone()]
        });
        lines.extend(output::columns(&cells.collect::<Vec<_>>()));
    }
    lines
}

fn section_of(row: &Row) -> &str {
    row.key.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sources: &Sources) -> String {
        table(load_from(sources, Role::ALL).unwrap().explain()).join("\n")
    }

    #[test]
    fn one_name_reaches_a_setting_from_every_layer() {
        let sources = Sources::defaults()
            .with_variable("OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS", "5000")
            .with_variable("OPENORDER_ADMIN_LISTEN_ADDRESS", "127.0.0.1:9081")
            .with_flag("kafka.partitions=12")
            .with_flag("process.drain_timeout_ms=1000");
        let settings = load_from(&sources, Role::ALL).unwrap().settings;
        assert_eq!(settings.order.saga_step_timeout_ms, 5_000);
        assert_eq!(settings.admin.listen_address, "127.0.0.1:9081");
        assert_eq!(settings.kafka.partitions, 12);
        assert_eq!(settings.process.drain_timeout_ms, 1_000);
    }

    #[test]
    fn a_line_has_value_source_and_meaning_and_no_secret() {
        let sources = Sources::defaults()
            .with_variable("OPENORDER_ORDER_DATABASE_URL", "postgres://app:hunter2@db:5432/orders")
            .with_flag("process.page_token_secret=hunter3");
        let shown = shown(&sources);
        let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        let url = line("database_url");
        assert!(url.contains("postgres://app:<hidden>@db:5432/orders"), "{url}");
        assert!(url.contains("variable OPENORDER_ORDER_DATABASE_URL"), "{url}");
        let secret = line("page_token_secret");
        assert!(secret.contains("<hidden>") && secret.contains("flag --set") && secret.contains("page tokens"));
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn a_wrong_form_is_told_with_its_source() {
        let sources = Sources::defaults().with_variable("OPENORDER_ORDER_LISTEN_ADDRESS", "8101");
        let errors = load_from(&sources, Role::ALL).unwrap_err();
        let told = errors.to_string();
        assert!(told.contains("order.listen_address (variable OPENORDER_ORDER_LISTEN_ADDRESS)"), "{told}");
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_near_one() {
        let sources = Sources::defaults().with_flag("order.listen_adress=127.0.0.1:1");
        let told = load_from(&sources, Role::ALL).unwrap_err().to_string();
        assert!(told.contains("did you mean order.listen_address?"), "{told}");
    }
}
