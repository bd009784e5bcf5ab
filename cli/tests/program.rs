//! The program as its callers see it: exit codes, and what it writes where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use openorder_testing::{World, free_address};

const PATIENCE: Duration = Duration::from_secs(30);

/// The program without settings of this machine.
fn openorder(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openorder"));
    command.env_clear().current_dir(std::env::temp_dir()).args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    openorder(arguments).output().unwrap()
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn good_settings_are_shown_and_bad_ones_end_with_code_2() {
    let (code, shown, _) = told(&run(&["config", "--set", "kafka.partitions=12"]));
    assert_eq!(code, 0);
    assert!(shown.lines().any(|line| line.starts_with("partitions") && line.contains("flag --set")), "{shown}");

    let bad = ["--set", "kafka.partition=12", "--set", "order.listen_address=8101"];
    let (code, shown, error) = told(&run(&[&["config"], &bad[..]].concat()));
    assert_eq!((code, shown.as_str()), (2, ""));
    assert!(error.contains("did you mean kafka.partitions?"), "{error}");
    let (code, shown, _) = told(&run(&["config", "--check", "--output", "json", "--set", "order.listen_address=8101"]));
    let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &json["valid"]), (2, &serde_json::Value::Bool(false)));
    assert_eq!(json["errors"].as_array().unwrap().len(), 1);
}

#[test]
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = told(&run(&["completion", shell]));
        assert_eq!(code, 0);
        for word in ["openorder", "order", "create", "cancel", "expect-total", "topic", "tail", "completion", "--until"]
        {
            assert!(script.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
    }
    let (code, page, _) = told(&run(&["man"]));
    assert!(code == 0 && page.contains(".TH openorder 1"), "{page}");
    let directory = std::env::temp_dir().join(format!("openorder-man-{}", uuid::Uuid::now_v7()));
    assert_eq!(told(&run(&["man", "--directory", &directory.display().to_string()])).0, 0);
    let page = std::fs::read_to_string(directory.join("openorder-order-create.1")).unwrap();
    assert!(page.contains("customer") && page.contains("chair=2"), "options and examples: {page}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_example_of_a_settings_file_can_be_used_as_it_is() {
    let (code, example, _) = told(&run(&["config", "--example"]));
    assert!(code == 0 && example.contains("[order]") && example.contains("#saga_step_timeout_ms = "), "{example}");
    let path = std::env::temp_dir().join(format!("openorder-example-{}.toml", uuid::Uuid::now_v7()));
    std::fs::write(&path, example).unwrap();
    let (code, said, error) = told(&run(&["config", "--check", "--config", &path.display().to_string()]));
    assert!(code == 0 && said.contains("0 of "), "{said}{error}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn nothing_is_bound_when_a_setting_is_wrong() {
    let admin = free_address().to_string();
    let admin = format!("admin.listen_address={admin}");
    let (code, shown, error) = told(&run(&["serve", "all", "--set", &admin, "--set", "kafka.brokers=nowhere"]));
    assert_eq!((code, shown.as_str()), (2, ""), "{error}");
    assert!(error.contains("kafka.brokers (flag --set)"), "{error}");
}

#[test]
fn a_probe_of_nobody_fails_and_names_the_address() {
    let address = free_address().to_string();
    let (code, _, error) = told(&run(&["probe", "--address", &address]));
    assert_eq!(code, 1);
    assert!(error.contains(&address), "{error}");
}

#[test]
fn the_demo_says_how_to_start_what_it_needs() {
    let (code, _, error) = told(&run(&["demo", "--gateway", &format!("http://{}", free_address())]));
    assert_eq!(code, 1);
    assert!(error.contains("openorder serve all"), "{error}");
}

#[test]
fn every_variable_that_the_containers_are_given_is_a_setting() {
    let (code, shown, _) = told(&run(&["config", "--output", "json"]));
    assert_eq!(code, 0);
    let settings: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let known: Vec<_> = settings.as_array().unwrap().iter().map(|row| row["variable"].as_str().unwrap()).collect();

    let compose = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml")).unwrap();
    let variables: Vec<_> = compose
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("OPENORDER_"))
        .collect();
    assert!(variables.len() > 30, "{variables:?}");
    let unknown: Vec<_> = variables.iter().filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "docker-compose.yml sets what is no setting: {unknown:?}");
}

/// A server that does not outlive its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

impl Server {
    async fn exit_code(&mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().expect("ended by itself");
            }
            assert!(Instant::now() < until, "the server does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_server_is_ready_drains_at_sigterm_and_ends_with_code_0() {
    let world = World::new();
    let (admin, address) = (free_address().to_string(), free_address().to_string());
    let logs = std::env::temp_dir().join(format!("openorder-program-{}", uuid::Uuid::now_v7()));
    let settings = [
        format!("admin.listen_address={admin}"),
        format!("product.listen_address={address}"),
        format!("product.database_url={}", world.database_url("product").expose()),
        format!("kafka.brokers={}", openorder_testing::brokers()),
        format!("kafka.topic_prefix={}", world.topic_prefix()),
        format!("telemetry.log_directory={}", logs.display()),
    ];
    let mut arguments = vec!["serve", "product"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting.as_str()]));
    let child = openorder(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Server(child);

    // Not only degraded: the relay is at work too.
    openorder_testing::eventually("readiness", PATIENCE, async || {
        let (code, answer, _) = told(&run(&["probe", "--address", &admin, "--output", "json"]));
        let answer: serde_json::Value = serde_json::from_str(&answer).ok()?;
        (code == 0 && answer["status"] == "ready").then_some(())
    })
    .await;
    let stopped = Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(server.exit_code().await, 0);

    let mut shown = String::new();
    std::io::Read::read_to_string(server.0.stdout.as_mut().unwrap(), &mut shown).unwrap();
    assert!(shown.contains(&format!("product       {address}")) && shown.contains("ready after"), "{shown}");
    let (code, log, _) = told(&run(&["logs", "product", "--directory", &logs.display().to_string()]));
    assert_eq!(code, 0);
    assert!(log.contains("relay is active"), "{log}");
    std::fs::remove_dir_all(logs).unwrap();
    world.close().await;
}
