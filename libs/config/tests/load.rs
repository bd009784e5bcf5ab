//! Which layer wins, what is refused, and what is never shown.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use openorder_config::{ConfigErrors, Row, Secret, Source, Sources, check, choices, load, settings};
use proptest::prelude::*;

choices! {
    /// How mail leaves.
    pub enum Transport {
        /// It does not.
        Record = "record",
        /// By SMTP.
        Smtp = "smtp",
    }
}

settings! {
    /// How events leave the database.
    pub struct RelaySettings {
        /// Events published at once.
        batch_max: usize = 500, 1..=10_000;
        /// Whether it runs.
        enabled: bool = true;
    }
}

settings! {
    /// Order service.
    pub struct OrderSettings {
        /// Address the gRPC server listens on.
        listen_address: SocketAddr = ([127, 0, 0, 1], 8101);
        /// How long a saga step may stay unanswered, in milliseconds.
        /// Then it is compensated.
        saga_step_timeout_ms: u64 = 120_000, 100..=86_400_000;
        /// PostgreSQL URL.
        database_url: Secret = "postgres://app:default-pw@127.0.0.1/openorder_order";
        /// Redis URL.
        redis_url: String = "redis://127.0.0.1:16379";
        /// Kafka brokers.
        brokers: Vec<String> = "127.0.0.1:19092";
        /// Share of traces recorded.
        sampling_ratio: f64 = 0.1, 0.0..=1.0;
        /// How mail leaves.
        transport: Transport = Transport::Record;
        /// How events leave the database.
        relay: RelaySettings = RelaySettings { batch_max: 100, ..RelaySettings::default() };
        /// How old events leave the database.
        old_relay: RelaySettings;
    }
}

settings! {
    /// All of the process.
    pub struct ProcessSettings {
        /// Order service.
        order: OrderSettings;
        /// Key that page tokens are signed with.
        page_token_key: Secret = "";
    }
}

/// A TOML file that is removed when the test ends.
struct File(PathBuf);

impl File {
    fn new(test: &str, text: &str) -> Self {
        let name = format!("openorder-config-{}-{test}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn loaded(sources: &Sources) -> ProcessSettings {
    load::<ProcessSettings>(sources).unwrap().settings
}

fn errors(sources: &Sources) -> ConfigErrors {
    load::<ProcessSettings>(sources).unwrap_err()
}

fn row(sources: &Sources, key: &str) -> Row {
    let loaded = load::<ProcessSettings>(sources).unwrap();
    loaded.explain().iter().find(|row| row.key == key).unwrap().clone()
}

#[test]
fn defaults_stand_where_nobody_says_anything() {
    let settings = loaded(&Sources::defaults());
    assert_eq!(settings.order.listen_address.to_string(), "127.0.0.1:8101");
    assert_eq!(settings.order.saga_step_timeout_ms, 120_000);
    assert_eq!(settings.order.brokers, ["127.0.0.1:19092"]);
    assert_eq!(settings.order.transport, Transport::Record);
    assert_eq!(settings.order.relay.batch_max, 100, "given by the outer struct");
    assert_eq!(settings.order.old_relay.batch_max, 500, "the struct's own");
    assert!(settings.page_token_key.is_empty());
    assert_eq!(check(&settings), Ok(()));
}

#[test]
fn later_layers_win() {
    let key = "order.saga_step_timeout_ms";
    let file = File::new("layers", "[order]\nsaga_step_timeout_ms = 1_000");
    let sources = Sources::defaults().with_file(file.path());
    let at = |sources: &Sources| {
        let row = row(sources, key);
        (row.value, row.source)
    };
    assert_eq!(at(&Sources::defaults()), ("120000".to_owned(), Source::Default));
    assert_eq!(at(&sources), ("1000".to_owned(), Source::File(file.path().to_owned())));

    let variable = "OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS";
    let sources = sources.with_variable(variable, "2_000");
    assert_eq!(at(&sources), ("2000".to_owned(), Source::Variable(variable.to_owned())));

    let sources = sources.with_flag(format!("{key}=3000")).with_flag(format!("{key}=4000"));
    assert_eq!(at(&sources), ("4000".to_owned(), Source::Flag));
}

#[test]
fn every_kind_of_value_is_read_from_a_file() {
    let file = File::new(
        "kinds",
        r#"
        page_token_key = "k"
        [order]
        listen_address = "[::]:9000"
        brokers = ["a:1", "b:2"]
        sampling_ratio = 1
        transport = "smtp"
        [order.relay]
        enabled = false
        batch_max = "7"
        "#,
    );
    let settings = loaded(&Sources::defaults().with_file(file.path()));
    assert_eq!(settings.order.listen_address.to_string(), "[::]:9000");
    assert_eq!(settings.order.brokers, ["a:1", "b:2"]);
    assert!((settings.order.sampling_ratio - 1.0).abs() < f64::EPSILON);
    assert_eq!(settings.order.transport, Transport::Smtp);
    assert!(!settings.order.relay.enabled);
    assert_eq!(settings.order.relay.batch_max, 7);
    assert_eq!(settings.page_token_key.expose(), "k");
}

#[test]
fn variables_reach_nested_settings_whose_names_have_underscores() {
    let settings = loaded(
        &Sources::defaults()
            .with_variable("OPENORDER_ORDER_OLD_RELAY_BATCH_MAX", "1")
            .with_variable("OPENORDER_ORDER_RELAY_BATCH_MAX", "2")
            .with_variable("OPENORDER_ORDER_BROKERS", " a:1 ,, b:2 ")
            .with_variable("OPENORDER_PAGE_TOKEN_KEY", "k=v"),
    );
    assert_eq!(settings.order.old_relay.batch_max, 1);
    assert_eq!(settings.order.relay.batch_max, 2);
    assert_eq!(settings.order.brokers, ["a:1", "b:2"]);
    assert_eq!(settings.page_token_key.expose(), "k=v");
}

#[test]
fn a_flag_may_hold_equals_signs() {
    let flag = "order.database_url=postgres://h/o?options=-c x=1";
    let settings = loaded(&Sources::defaults().with_flag(flag));
    assert_eq!(settings.order.database_url.expose(), "postgres://h/o?options=-c x=1");
}

#[test]
fn all_errors_are_told_at_once_with_their_source_and_what_is_allowed() {
    let file = File::new("errors", "colour = \"red\"\n[order]\nsaga_step_timeout_ms = 5\nsaga_timeout = 1");
    let shown = errors(
        &Sources::defaults()
            .with_file(file.path())
            .with_variable("OPENORDER_ORDER_SAMPLING_RATIO", "1.5")
            .with_variable("OPENORDER_ORDER_LISTEN_ADRESS", "0.0.0.0:1")
            .with_flag("order.transport=pigeon")
            .with_flag("order.relay.enabled=maybe")
            .with_flag("order.relay"),
    )
    .to_string();
    let path = file.path().display();
    let mut lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.remove(0), "the configuration has 8 error(s):");
    lines.sort_unstable();
    let mut expected = [
        "  flag --set: must have the form key=value".to_owned(),
        format!("  file {path}: colour is not a setting"),
        format!("  file {path}: order.saga_timeout is not a setting"),
        "  variable OPENORDER_ORDER_LISTEN_ADRESS: OPENORDER_ORDER_LISTEN_ADRESS is not a setting; did you mean OPENORDER_ORDER_LISTEN_ADDRESS?".to_owned(),
        format!("  order.saga_step_timeout_ms (file {path}): 5 is not allowed; it must be from 100 to 86400000"),
        "  order.sampling_ratio (variable OPENORDER_ORDER_SAMPLING_RATIO): \"1.5\" is not allowed; it must be from 0 to 1".to_owned(),
        "  order.transport (flag --set): \"pigeon\" is not allowed; it must be one of record, smtp".to_owned(),
        "  order.relay.enabled (flag --set): \"maybe\" is not allowed; it must be true or false".to_owned(),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn a_former_name_is_refused_with_the_name_of_today() {
    let sources = Sources::defaults()
        .with_renamed(&[("order.step_ms", "order.saga_step_timeout_ms")])
        .with_flag("order.step_ms=500")
        .with_variable("OPENORDER_ORDER_STEP_MS", "500");
    let shown = errors(&sources).to_string();
    let now = "is not a setting any more; it is order.saga_step_timeout_ms now (OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS)";
    assert!(shown.contains(&format!("order.step_ms {now}")), "{shown}");
    assert!(shown.contains(&format!("OPENORDER_ORDER_STEP_MS {now}")), "{shown}");
}

#[test]
fn numbers_do_not_wrap_and_are_not_guessed() {
    for value in ["-1", "18446744073709551616", "1.5", "0x10", "", "12 0"] {
        let flag = format!("order.saga_step_timeout_ms={value}");
        assert_eq!(errors(&Sources::defaults().with_flag(flag)).0.len(), 1, "{value:?}");
    }
    for value in ["NaN", "inf", "-0.1", ""] {
        let flag = format!("order.sampling_ratio={value}");
        assert_eq!(errors(&Sources::defaults().with_flag(flag)).0.len(), 1, "{value:?}");
    }
}

#[test]
fn a_section_is_not_a_value_and_a_value_is_not_a_section() {
    let file = File::new("shape", "order = 5\n[page_token_key]\nx = 1");
    let shown = errors(&Sources::defaults().with_file(file.path())).to_string();
    assert!(shown.contains("order is not a setting"), "{shown}");
    assert!(shown.contains("page_token_key.x is not a setting; did you mean page_token_key?"), "{shown}");
}

#[test]
fn variables_of_others_are_ignored() {
    loaded(
        &Sources::defaults()
            .with_variable("OPENORDER_FAULT_INJECTION", "1")
            .with_variable("OPENORDER_STACK", "local")
            .with_variable("OPENORDER_DEV_WHATEVER", "x")
            .with_variable("OPENORDER_POSTGRES_PORT", "15432"),
    );
}

#[test]
fn a_file_that_was_named_must_exist_and_be_toml() {
    let shown = errors(&Sources::defaults().with_file("/nowhere/openorder.toml")).to_string();
    assert!(shown.contains("file /nowhere/openorder.toml: cannot be read"), "{shown}");

    let file = File::new("syntax", "[order]\ndatabase_url = \"postgres://u:hunter2@h/o");
    let shown = errors(&Sources::defaults().with_file(file.path())).to_string();
    assert!(shown.contains("is not TOML: line 2"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn secrets_are_shown_nowhere() {
    let sources = Sources::defaults()
        .with_flag("order.database_url=postgres://app:hunter2@db/o")
        .with_flag("order.redis_url=redis://:hunter2@cache")
        .with_flag("page_token_key=hunter2");
    let loaded = load::<ProcessSettings>(&sources).unwrap();
    assert_eq!(loaded.settings.page_token_key.expose(), "hunter2");
    assert!(!format!("{:?}", loaded.explain()).contains("hunter2"));
    assert!(!format!("{:?}", loaded.explain()).contains("default-pw"));
    let value = |key: &str| row(&sources, key).value;
    assert_eq!(value("order.database_url"), "postgres://app:<hidden>@db/o");
    assert_eq!(value("order.redis_url"), "redis://:<hidden>@cache");
    assert_eq!(value("page_token_key"), "<hidden>");
    assert!(!format!("{:?}", loaded.settings.page_token_key).contains("hunter2"));

    let file = File::new("secret", "page_token_key = [\"hunter2\"]");
    let shown = errors(&Sources::defaults().with_file(file.path())).to_string();
    assert!(shown.contains("page_token_key") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn explain_tells_all_of_a_setting() {
    let row = row(&Sources::defaults().with_flag("order.saga_step_timeout_ms=500"), "order.saga_step_timeout_ms");
    assert_eq!(row.variable, "OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS");
    assert_eq!((row.value.as_str(), row.default.as_str()), ("500", "120000"));
    assert_eq!(row.allowed, "from 100 to 86400000");
    assert_eq!(row.doc, "How long a saga step may stay unanswered, in milliseconds. Then it is compensated.");
}

#[test]
fn settings_made_by_code_are_checked_too() {
    let mut settings = ProcessSettings::default();
    settings.order.relay.batch_max = 0;
    let shown = check(&settings).unwrap_err().to_string();
    assert!(shown.contains("order.relay.batch_max (default): 0 is not allowed; it must be from 1 to 10000"), "{shown}");
}

settings! {
    /// Two settings that can contradict each other.
    pub struct Pauses {
        /// The shortest pause.
        pause_min_ms: u64 = 50, 1..=60_000;
        /// The longest pause.
        pause_max_ms: u64 = 1_000, 1..=60_000;
    }
    keeps {
        pause_min_ms <= pause_max_ms;
    }
}

settings! {
    /// A process with pauses.
    pub struct Pausing {
        /// Between retries.
        retry: Pauses;
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_both_and_where_they_came_from() {
    let refused = |sources: Sources| load::<Pausing>(&sources).unwrap_err().to_string();
    let one = refused(Sources::defaults().with_flag("retry.pause_min_ms=2000"));
    let sentence = "retry.pause_min_ms (flag --set): 2000 must not be more than retry.pause_max_ms, which is 1000";
    assert!(one.ends_with(sentence) && one.contains("1 error"), "{one}");
    let other = refused(Sources::defaults().with_variable("OPENORDER_RETRY_PAUSE_MAX_MS", "10"));
    assert!(other.contains("50 must not be more than retry.pause_max_ms, which is 10"), "{other}");
    assert!(other.contains("OPENORDER_RETRY_PAUSE_MAX_MS"), "{other}");
    let both = Sources::defaults().with_flag("retry.pause_min_ms=2000").with_flag("retry.pause_max_ms=2000");
    assert_eq!(load::<Pausing>(&both).unwrap().settings.retry.pause_min_ms, 2_000);
    let made = Pausing { retry: Pauses { pause_min_ms: 2, pause_max_ms: 1 } };
    assert!(check(&made).unwrap_err().to_string().contains("must not be more than"));
}

settings! {
    /// A struct whose names meet in the environment.
    pub struct Clashing {
        /// One.
        relay_batch_max: u64 = 1;
        /// Two.
        relay: RelaySettings;
    }
}

#[test]
fn two_settings_cannot_share_a_variable() {
    let errors = load::<Clashing>(&Sources::defaults()).unwrap_err().to_string();
    assert!(errors.contains("share OPENORDER_RELAY_BATCH_MAX"), "{errors}");
}

proptest! {
    #[test]
    fn a_number_within_its_bounds_is_taken_by_every_layer(number in 100_u64..=86_400_000) {
        let key = "order.saga_step_timeout_ms";
        let variable = "OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS";
        for sources in [
            Sources::defaults().with_flag(format!("{key}={number}")),
            Sources::defaults().with_variable(variable, number.to_string()),
        ] {
            prop_assert_eq!(loaded(&sources).order.saga_step_timeout_ms, number);
        }
    }

    #[test]
    fn nothing_that_is_given_makes_it_panic(name in "[a-zA-Z_.]{0,40}", value in any::<String>()) {
        let _ = load::<ProcessSettings>(
            &Sources::defaults()
                .with_variable(format!("OPENORDER_{name}"), value.clone())
                .with_flag(format!("{name}={value}"))
                .with_flag(value),
        );
    }
}
