//! `openorder verify`, run as an operator would.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// What the program said about the invariants.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its exit code: 0 holds, 1 violated, 2 could not be checked.
    pub code: i32,
    /// The document that it wrote.
    pub report: Value,
}

impl Verified {
    /// Runs the program with a deployment's settings.
    pub async fn run(program: &Path, config: &Path, arguments: &[&str]) -> Self {
        let output = Command::new(program)
            .args(["verify", "--output", "json", "--config"])
            .arg(config)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("the program runs");
        let code = output.status.code().expect("it ends by itself");
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr));
        });
        Self { code, report }
    }

    /// All violations that were shown: invariant, reason, id.
    pub fn violations(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |invariant: &Value| {
            let found = invariant["found"].as_array().cloned().unwrap_or_default();
            let name = text(&invariant["invariant"]);
            found.into_iter().map(move |one| (name.clone(), text(&one["reason"]), text(&one["id"]))).collect::<Vec<_>>()
        };
        self.report["invariants"].as_array().into_iter().flatten().flat_map(of).collect()
    }

    /// A number of one invariant: `checked`, `in_flight`, `violations`, or one of its counts.
    pub fn number(&self, invariant: &str, name: &str) -> i64 {
        let found =
            self.report["invariants"].as_array().into_iter().flatten().find(|one| one["invariant"] == invariant);
        let number = found.map(|one| if one[name].is_null() { &one["counts"][name] } else { &one[name] });
        number.and_then(Value::as_i64).unwrap_or_default()
    }

    /// The first violations in words.
    pub fn describe(&self, limit: usize) -> Vec<String> {
        let invariants = self.report["invariants"].as_array().into_iter().flatten();
        let found = invariants.flat_map(|one| one["found"].as_array().into_iter().flatten());
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let lines = found.map(|one| format!("{} {}: {}", text(one, "reason"), text(one, "id"), text(one, "detail")));
        lines.take(limit).collect()
    }

    /// Why invariants could not be checked.
    pub fn errors(&self) -> Vec<String> {
        let invariants = self.report["invariants"].as_array().into_iter().flatten();
        invariants.filter_map(|one| one["error"].as_str().map(ToOwned::to_owned)).collect()
    }

    /// Whether all invariants hold.
    pub fn holds(&self) -> bool {
        self.code == 0
    }
}
