//! `openorder probe`: does a process answer calls, and what does it wait for.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::{ProbeArgs, SettingsArgs};
use crate::http::{self, Answer};
use crate::output::{self, Format};
use crate::{block_on, config};

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
            let told = match &answer {
                Ok(answer) => serde_json::from_str(&answer.body).unwrap_or(Value::Null),
                Err(error) => json!({ "status": "unreachable", "error": error.to_string(), "address": address }),
            };
            output::json(&told)?;
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
    let serves = |told: Readyz| matches!(told.status.as_str(), "ready" | "degraded");
    answer.code == 200 && serde_json::from_str(&answer.body).is_ok_and(serves)
}

fn waited_for(answer: &Answer) -> Vec<String> {
    let Ok(told) = serde_json::from_str::<Readyz>(&answer.body) else {
        return vec![format!("not an admin port of openorder: it answers {}", answer.code)];
    };
    let missing = told.dependencies.iter().filter(|dependency| dependency.state != "ready");
    let cells = missing.map(|missing| {
        vec![format!("  {}", missing.role), missing.name.clone(), missing.state.clone(), missing.detail.clone()]
    });
    let mut lines = vec![told.status];
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
