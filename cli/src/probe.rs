//! `openorder probe`: does a process answer calls, and what does it wait for.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::block_on::block_on;
use crate::config;
use crate::http::{self, Answer};
use crate::output::{self, Format};
use crate::settings_args::SettingsArgs;
use crate::time::duration;

const PROBE_HELP: &str = "\
Examples:
  openorder probe                              for a container's health check
  openorder probe --address 127.0.0.1:9081
  until openorder probe; do sleep 1; done

Exit code 0: it answers calls (ready, or degraded: work in the background waits). 1: it does not, or nobody is there.
What is waited for is printed.";

/// Arguments of `openorder probe`.
#[derive(Clone, Debug, Args)]
#[command(after_help = PROBE_HELP)]
pub struct ProbeArgs {
    /// Admin port of the process [default: admin.listen_address of the settings, 127.0.0.1:8081].
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// How long the answer may take.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
    /// How the result is written.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// The part of `/readyz` that is shown.
#[derive(Debug, Deserialize)]
struct Readyz {
    status: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    role: String,
    name: String,
    state: String,
    detail: String,
}

/// Runs the command; whether the process answers calls.
///
/// # Errors
/// Settings that cannot be used, where the address has to come from them.
pub fn run(settings: &SettingsArgs, args: &ProbeArgs) -> anyhow::Result<bool> {
    let address = match &args.address {
        Some(address) => address.clone(),
        None => config::load(settings, &[])?.settings.admin.listen_address,
    };
    let answer = block_on(http::get(&address, "/readyz", args.timeout))?;
    let ready = answer.as_ref().is_ok_and(says_ready);
    match args.output {
        Format::Json => {
            let readyz = match &answer {
                Ok(answer) => serde_json::from_str(&answer.body).unwrap_or(Value::Null),
                Err(error) => json!({ "status": "unreachable", "error": error.to_string(), "address": address }),
            };
            output::json(&readyz)?;
        }
        Format::Text => {
            let answer = answer.with_context(|| format!("no process answers on its admin port {address}"))?;
            waited_for(&answer).iter().for_each(output::line);
        }
    }
    Ok(ready)
}

/// Another program's port may answer 200 as well.
fn says_ready(answer: &Answer) -> bool {
    let serves = |readyz: Readyz| matches!(readyz.status.as_str(), "ready" | "degraded");
    answer.code == 200 && serde_json::from_str(&answer.body).is_ok_and(serves)
}

fn waited_for(answer: &Answer) -> Vec<String> {
    let Ok(readyz) = serde_json::from_str::<Readyz>(&answer.body) else {
        return vec![format!("not an admin port of openorder: it answers {}", answer.code)];
    };
    let missing = readyz.dependencies.iter().filter(|dependency| dependency.state != "ready");
    let cells = missing.map(|missing| {
        vec![format!("  {}", missing.role), missing.name.clone(), missing.state.clone(), missing.detail.clone()]
    });
    let mut lines = vec![readyz.status];
    lines.extend(output::columns(&cells.collect::<Vec<_>>()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_shown() {
        let body = r#"{"status":"waiting","dependencies":[
            {"role":"order","name":"postgres","state":"ready","detail":""},
            {"role":"order","name":"kafka","state":"waiting","detail":"no broker answers"}]}"#;
        let answer = Answer { code: 503, body: body.to_owned() };
        assert!(!says_ready(&answer));
        let shown = waited_for(&answer);
        assert_eq!(shown, ["waiting", "  order  kafka  waiting  no broker answers"]);
    }

    #[test]
    fn ready_is_said_by_code_and_word() {
        let body = r#"{"status":"ready","dependencies":[]}"#.to_owned();
        assert!(says_ready(&Answer { code: 200, body: body.clone() }));
        assert!(says_ready(&Answer { code: 200, body: body.replace("ready", "degraded") }));
        assert!(!says_ready(&Answer { code: 503, body }));
    }

    #[test]
    fn somebody_else_s_port_is_told_as_such() {
        let other = Answer { code: 200, body: "<html>".to_owned() };
        assert!(!says_ready(&other));
        let shown = waited_for(&other);
        assert_eq!(shown, ["not an admin port of openorder: it answers 200"]);
    }
}
