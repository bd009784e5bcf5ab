//! MailDev, the mail server of the local stack: the stack's own, or one that a test starts with rules of its own.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use openorder_testing::{eventually, free_address, get_json};
use serde_json::Value;

/// A running MailDev.
pub(crate) struct MailDev {
    pub(crate) smtp_port: u16,
    page: String,
    /// None when it is the stack's.
    process: Option<Child>,
}

impl MailDev {
    /// The stack's, or one like it.
    pub(crate) async fn of_the_stack() -> Self {
        let (smtp, page) = (
            openorder_testing::variable("OPENORDER_SMTP_URL", ""),
            openorder_testing::variable("OPENORDER_MAIL_URL", ""),
        );
        match smtp.rsplit_once(':') {
            Some((_, port)) if !page.is_empty() => Self { smtp_port: port.parse().unwrap(), page, process: None },
            _ => Self::start(&[]).await,
        }
    }

    /// One of our own with these arguments.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let (smtp, web) = (free_address(), free_address());
        let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = Command::new(repository.join("dev/tool")).args(["--path", "maildev"]).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let program = String::from_utf8(found.stdout).unwrap();
        let process = Command::new("node")
            .arg(program.trim())
            .args(["--ip", "127.0.0.1", "--smtp", &smtp.port().to_string()])
            .args(["--web-ip", "127.0.0.1", "--web", &web.port().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { smtp_port: smtp.port(), page: format!("http://{web}"), process: Some(process) };
        eventually("MailDev to answer", Duration::from_secs(60), || async {
            get_json(&format!("{}/healthz", server.page)).await.map(drop)
        })
        .await;
        server
    }

    /// What it holds for this address.
    pub(crate) async fn mail_to(&self, address: &str) -> Vec<Value> {
        let answer = get_json(&format!("{}/email", self.page)).await.unwrap();
        let mut all = answer.as_array().unwrap().clone();
        all.retain(|one| one["to"][0]["address"] == address);
        all
    }
}

impl Drop for MailDev {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            drop(process.kill());
            drop(process.wait());
        }
    }
}
