//! `openorder config`: what the settings are, where they come from, what is wrong with them.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use openorder_config::{ConfigErrors, Loaded, Row, Source, Sources};
use serde::{Deserialize, Serialize};

use crate::block_on::block_on;
use crate::check::check;
use crate::http;
use crate::output::{self, Format, note};
use crate::roles::Role;
use crate::settings::ProcessSettings;
use crate::settings_args::SettingsArgs;

/// How long a server may take to show its settings.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

const EXAMPLE_HEAD: &str = "\
# Settings of openorder, all with their defaults: made by `openorder config --example`.
# Take the # away from what is to be otherwise. The environment and --set stand above this file, and each setting has one
# name in all of them: order.listen_address is OPENORDER_ORDER_LISTEN_ADDRESS.
# `openorder config --check` says what is wrong, `openorder config --explain` where each value comes from.";

const CONFIG_HELP: &str = "\
Examples:
  openorder config                                   every setting that this shell gives, as --explain
  openorder config --server                          those that the running server has
  openorder config --example > openorder.toml        a file to begin with: all settings, commented out
  openorder config --explain --output json
  OPENORDER_KAFKA_PARTITIONS=0 openorder config --check
  openorder --config production.toml config --check

The running server is asked on its admin port: admin.listen_address of the settings. Secrets are never shown; of a URL,
all but its password is.";

/// Arguments of `openorder config`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CONFIG_HELP)]
pub struct ConfigArgs {
    /// Print each setting with its value, its source and its meaning. The default.
    #[arg(long, conflicts_with = "check")]
    pub explain: bool,
    /// Show the settings of the server that runs, not those of this shell.
    #[arg(long, conflicts_with_all = ["check", "example"])]
    pub server: bool,
    /// Print an example of openorder.toml: every setting with its meaning and default, commented out.
    #[arg(long, conflicts_with_all = ["check", "explain", "output"])]
    pub example: bool,
    /// Only say whether the settings can be used, and everything that is wrong with them.
    #[arg(long)]
    pub check: bool,
    /// How the result is written.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Settings that have another name than in an earlier version.
const RENAMED: &[(&str, &str)] = &[
    ("gateway.order_url", "services.order"),
    ("gateway.product_url", "services.product"),
    ("gateway.inventory_url", "services.inventory"),
    ("gateway.payment_url", "services.payment"),
    ("gateway.notification_url", "services.notification"),
    ("gateway.operations_url", "services.operations"),
    ("operations.order_url", "services.order"),
    ("operations.product_url", "services.product"),
    ("operations.inventory_url", "services.inventory"),
    ("operations.payment_url", "services.payment"),
    ("operations.notification_url", "services.notification"),
    ("inventory.product_url", "services.product"),
    ("inventory.order_url", "services.order"),
    ("order.product_url", "services.product"),
    ("order.inventory_url", "services.inventory"),
];

/// The settings of this process, checked for what it is to serve.
///
/// # Errors
/// Everything that is wrong with them, each with the file, variable or flag that it came from.
pub fn load(args: &SettingsArgs, roles: &[Role]) -> Result<Loaded<ProcessSettings>, ConfigErrors> {
    let sources = Sources::of_process(args.config.clone(), args.set.clone()).with_renamed(RENAMED);
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

/// What `/config` of the admin port shows: the settings of this process with their sources, secrets hidden, as JSON.
///
/// # Errors
/// None that occurs: texts become JSON.
pub fn document(loaded: &Loaded<ProcessSettings>, roles: &[Role]) -> anyhow::Result<String> {
    let roles = roles.iter().map(|role| role.name().to_owned()).collect();
    let settings = loaded.explain().iter().map(Explained::from).collect();
    Ok(serde_json::to_string(&Running { version: env!("CARGO_PKG_VERSION").to_owned(), roles, settings })?)
}

/// A process that runs, as it tells of itself on its admin port.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    version: String,
    roles: Vec<String>,
    settings: Vec<Explained>,
}

impl Running {
    /// The value of a setting, secrets hidden.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|setting| setting.key == key).map(|setting| setting.value.as_str())
    }
}

/// Asks the process whose admin port this is for its settings.
///
/// # Errors
/// Nobody answers within a second, or it is no process of this version's kind.
pub(crate) fn ask(admin_address: &str) -> anyhow::Result<Running> {
    let answer = block_on(http::get(admin_address, "/config", ANSWER_TIMEOUT))?;
    let answer = answer.with_context(|| format!("no server answers on the admin port {admin_address}"))?;
    serde_json::from_str(&answer.body)
        .with_context(|| format!("{admin_address} does not show settings: it answers {} to /config", answer.code))
}

/// Runs the command.
///
/// # Errors
/// Everything that is wrong with the settings; where JSON was asked for, also as a document.
pub fn run(settings: &SettingsArgs, args: &ConfigArgs) -> anyhow::Result<()> {
    if args.example {
        let defaults = load_from(&Sources::defaults(), &[])?;
        example(defaults.explain()).iter().for_each(output::line);
        return Ok(());
    }
    let loaded = load(settings, Role::ALL);
    if args.check {
        return check_only(loaded, args.output);
    }
    let loaded = loaded?;
    let admin = loaded.settings.admin.listen_address.as_str();
    if args.server {
        let running = ask(admin).context("--server shows the settings of a server that runs")?;
        note(format_args!("the settings of the server at {admin}, which serves {}:", running.roles.join(", ")));
        return show(&running.settings, args.output);
    }
    let here: Vec<Explained> = loaded.explain().iter().map(Explained::from).collect();
    show(&here, args.output)?;
    note(whose(&here, admin, ask(admin).ok().as_ref()));
    Ok(())
}

fn show(settings: &[Explained], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(&settings),
        Format::Text => {
            table(settings).iter().for_each(output::line);
            Ok(())
        }
    }
}

/// Says that these are the settings of the shell, and what a server that runs makes of it.
fn whose(here: &[Explained], admin: &str, running: Option<&Running>) -> String {
    let these = "\nthese are the settings that this shell gives";
    let Some(running) = running else {
        return format!("{these}; no server answers on the admin port {admin}");
    };
    let others = here.iter().filter(|one| running.value(&one.key).is_some_and(|value| value != one.value)).count();
    match others {
        0 => format!("{these}, and the server at {admin} has the same"),
        others => {
            format!("{these}; the server at {admin} has {others} others: openorder config --server shows its own")
        }
    }
}

fn check_only(loaded: Result<Loaded<ProcessSettings>, ConfigErrors>, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        let errors = loaded.as_ref().err().map(|errors| errors.0.as_slice()).unwrap_or_default();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        output::json(&serde_json::json!({ "valid": errors.is_empty(), "errors": errors }))?;
        loaded?;
        return Ok(());
    }
    let loaded = loaded?;
    let rows = loaded.explain();
    let given = rows.iter().filter(|row| row.source != Source::Default).count();
    let all = rows.len();
    output::line(format_args!("the settings can be used: {given} of {all} are not the default"));
    Ok(())
}

/// One setting, for programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Explained {
    key: String,
    value: String,
    default: String,
    source: String,
    variable: String,
    allowed: String,
    doc: String,
}

impl From<&Row> for Explained {
    fn from(row: &Row) -> Self {
        Self {
            key: row.key.clone(),
            value: row.value.clone(),
            default: row.default.clone(),
            source: row.source.to_string(),
            variable: row.variable.clone(),
            allowed: row.allowed.clone(),
            doc: row.doc.clone(),
        }
    }
}

/// A file of all settings with their defaults, each commented out, in the order of declaration.
fn example(rows: &[Row]) -> Vec<String> {
    let mut lines: Vec<String> = EXAMPLE_HEAD.lines().map(str::to_owned).collect();
    // TOML wants each section once, also where a nested one stands between settings of the outer one.
    let mut sections: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in rows {
        let section = row.key.rsplit_once('.').map_or("", |(section, _)| section);
        match sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, rows)) => rows.push(row),
            None => sections.push((section, vec![row])),
        }
    }
    for (section, rows) in sections {
        lines.extend([String::new(), format!("[{section}]")]);
        for row in rows {
            let name = row.key.rsplit('.').next().unwrap_or(&row.key);
            lines.push(format!("# {} ({})", row.doc, row.allowed));
            lines.push(format!("#{name} = {}", toml_of(&row.default)));
        }
    }
    lines
}

/// A default as TOML. Every setting reads text, and so a text that looks like a number does no harm.
fn toml_of(shown: &str) -> String {
    let is_bare = shown == "true" || shown == "false" || shown.parse::<f64>().is_ok();
    if is_bare { shown.to_owned() } else { format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// A line a setting, in sections; names within a section, so that lines stay short.
fn table(rows: &[Explained]) -> Vec<String> {
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
            vec![key.to_owned(), value.to_owned(), row.source.clone(), row.doc.clone()]
        });
        lines.extend(output::columns(&cells.collect::<Vec<_>>()));
    }
    lines
}

fn section_of(row: &Explained) -> &str {
    row.key.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sources: &Sources) -> String {
        let rows: Vec<Explained> =
            load_from(sources, Role::ALL).unwrap().explain().iter().map(Explained::from).collect();
        table(&rows).join("\n")
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
        let shown = errors.to_string();
        assert!(shown.contains("order.listen_address (variable OPENORDER_ORDER_LISTEN_ADDRESS)"), "{shown}");
    }

    #[test]
    fn each_renamed_setting_has_a_name_that_is_one() {
        let loaded = load_from(&Sources::defaults(), Role::ALL).unwrap();
        let known = |key: &str| loaded.explain().iter().any(|row| row.key == key);
        for (former, now) in RENAMED {
            assert!(known(now) && !known(former), "{former} is {now}");
        }
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_near_one() {
        let sources = Sources::defaults().with_flag("order.listen_adress=127.0.0.1:1");
        let shown = load_from(&sources, Role::ALL).unwrap_err().to_string();
        assert!(shown.contains("did you mean order.listen_address?"), "{shown}");
    }

    #[test]
    fn the_example_is_a_file_of_all_settings_that_changes_nothing() {
        let rows = load_from(&Sources::defaults(), &[]).unwrap();
        let text: Vec<String> = example(rows.explain()).iter().map(|line| uncommented(line)).collect();
        let path = std::env::temp_dir().join(format!("openorder-example-{}.toml", uuid::Uuid::now_v7()));
        std::fs::write(&path, text.join("\n")).unwrap();
        let loaded = load_from(&Sources::defaults().with_file(&path), Role::ALL);
        std::fs::remove_file(&path).unwrap();
        let loaded = loaded.unwrap();
        for row in loaded.explain() {
            assert_eq!(row.value, row.default, "{}", row.key);
            assert!(matches!(row.source, Source::File(_)), "{} is not in the example", row.key);
        }
    }

    /// A setting stands behind a `#`, and what is said of it behind a `#` and a space.
    fn uncommented(line: &str) -> String {
        line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned()
    }

    #[test]
    fn a_running_server_is_compared_with_the_shell() {
        let here = load_from(&Sources::defaults(), Role::ALL).unwrap();
        let there = load_from(&Sources::defaults().with_flag("kafka.partitions=12"), Role::ALL).unwrap();
        let running = |loaded| serde_json::from_str::<Running>(&document(loaded, Role::ALL).unwrap()).unwrap();
        let shell: Vec<Explained> = here.explain().iter().map(Explained::from).collect();
        assert_eq!(running(&there).value("kafka.partitions"), Some("12"));
        assert!(whose(&shell, "a:1", Some(&running(&here))).contains("has the same"));
        assert!(whose(&shell, "a:1", Some(&running(&there))).contains("has 1 others: openorder config --server"));
        assert!(whose(&shell, "a:1", None).contains("no server answers on the admin port a:1"));
    }

    #[test]
    fn no_secret_is_shown_by_a_server() {
        let sources = Sources::defaults()
            .with_variable("OPENORDER_ORDER_DATABASE_URL", "postgres://app:hunter2@db:5432/orders")
            .with_flag("process.page_token_secret=hunter3");
        let shown = document(&load_from(&sources, Role::ALL).unwrap(), Role::ALL).unwrap();
        assert!(shown.contains("app:<hidden>@db") && !shown.contains("hunter"), "{shown}");
    }
}
