//! The program's other commands, as an operator types them.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
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
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code().expect("an exit code"), out: text(output.stdout), err: text(output.stderr) }
    }

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
        CommandOutput::of(self.begin(arguments).wait_with_output().await.expect("the program runs"))
    }

    /// As [`Deployment::command`], with no settings but those of the arguments, as in a shell that knows nothing.
    ///
    /// # Panics
    /// When the program cannot be run.
    pub async fn without_settings(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().current_dir(std::env::temp_dir()).stdin(Stdio::null());
        CommandOutput::of(command.output().await.expect("the program runs"))
    }

    /// As [`Deployment::command`], by somebody whose sign-in is kept in this folder, and who types this.
    ///
    /// # Panics
    /// When the program cannot be run.
    pub async fn command_of(&self, home: &Path, arguments: &[&str], typed: &str) -> CommandOutput {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.config()).env_clear().env("XDG_CONFIG_HOME", home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program runs");
        let mut stdin = child.stdin.take().expect("standard input");
        // A command that reads nothing has ended, or does not care.
        drop(stdin.write_all(typed.as_bytes()).await);
        drop(stdin);
        CommandOutput::of(child.wait_with_output().await.expect("the program runs"))
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
