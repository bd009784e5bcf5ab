//! The program's other commands, as an operator types them.

use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::{Deployment, deployment::program};

/// What a command answered.
#[derive(Debug)]
pub struct CommandOutput {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl CommandOutput {
    /// Standard output as one JSON document.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Deployment {
    /// Runs a command of the program against this deployment, with nobody at a terminal.
    ///
    /// # Panics
    /// When the program cannot be run.
    pub async fn command(&self, arguments: &[&str]) -> CommandOutput {
        let output = self.begin(arguments).wait_with_output().await.expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        CommandOutput {
            code: output.status.code().expect("an exit code"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// As [`Deployment::command`], with no settings but those of the arguments, as in a shell that knows nothing.
    ///
    /// # Panics
    /// When the program cannot be run.
    pub async fn without_settings(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().current_dir(std::env::temp_dir()).stdin(Stdio::null());
        let output = command.output().await.expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        CommandOutput {
            code: output.status.code().expect("an exit code"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Begins a command; it is killed when it is dropped.
    ///
    /// # Panics
    /// When the program cannot be run.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        Command::new(program())
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program runs")
    }
}
