//! What all acts of an operator have in common.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;
use openorder_rpc::Resume;
use openorder_rpc::status::is_unavailable;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

use crate::confirm::confirm;
use crate::gateway_client::failed;
use crate::output::{self, note};

/// How long a replay may be watched; it ends long before, or is watched again by its request id.
const WATCH_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// How a watch that broke off is taken up again.
const RESUME: Resume = Resume { pause: Duration::from_secs(1), times_max: 30, deadline: None };

/// What every act takes.
#[derive(Clone, Debug, Args)]
pub struct ActArgs {
    /// Why: it stands in the audit trail. Needed for everything but a dry run.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub reason: Option<String>,
    /// Only count what would be touched, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before it begins.
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Go on with an act that was broken off; all else must be given as then, times in full [default: a new one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
}

impl ActArgs {
    /// Why.
    pub(super) fn reason(&self) -> String {
        self.reason.clone().unwrap_or_default()
    }

    /// The request id: the one that was given, or a new one.
    pub(super) fn request_id(&self, verb: &str) -> String {
        self.request_id.clone().unwrap_or_else(|| format!("{verb}-{}", Uuid::now_v7()))
    }

    /// Asks whether to go on; nobody to ask is a refusal.
    ///
    /// # Errors
    /// Without `--yes` when nobody sits at a terminal, or says no.
    pub(super) fn confirm(&self, question: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        confirm(question, "say --yes, or --dry-run to only count")
    }
}

/// Follows a replay to its end, through restarts of what it is followed through; the last message that came.
///
/// # Errors
/// What the call was refused with, or that it could not be followed.
pub(super) async fn follow<T, F>(
    request_id: &str,
    call: impl Fn() -> F,
    mut each: impl FnMut(&T),
) -> anyhow::Result<Option<T>>
where
    F: Future<Output = Result<Streaming<T>, Status>>,
{
    let mut last = None;
    let answered = |answer: T| {
        each(&answer);
        last = Some(answer);
        ControlFlow::Continue(())
    };
    let interrupted = |status: &Status| {
        note(format_args!("the replay is out of sight ({}); looking again …", status.message()));
    };
    match RESUME.follow(call, answered, interrupted).await {
        Ok(()) => Ok(last),
        Err(status) => {
            output::progress_ends();
            Err(not_seen_to_end("the replay cannot be followed", request_id, &status))
        }
    }
}

/// What an act ended with as far as it is seen here. It goes on where it is done, and its request id tells its end.
pub(super) fn not_seen_to_end(what: &str, request_id: &str, status: &Status) -> anyhow::Error {
    let goes_on = is_unavailable(status) || status.code() == Code::DeadlineExceeded;
    let advice = match goes_on && !request_id.is_empty() {
        true => format!(". The same command with --request-id {request_id} goes on"),
        false => String::new(),
    };
    anyhow::anyhow!("{}{advice}", failed(what, status))
}

/// A request whose answers may come for long.
pub(super) fn long<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(WATCH_TIMEOUT);
    request
}

#[cfg(test)]
mod tests {
    use std::io::{self, IsTerminal as _};

    use openorder_rpc::status;
    use openorder_types::{CallError, Rejection};

    use super::*;

    #[test]
    fn an_act_that_is_not_seen_to_end_names_its_request_id_and_a_refused_one_does_not() {
        let said = |id: &str, error| not_seen_to_end("it cannot be done", id, &status(error)).to_string();
        let away = || CallError::Unavailable { dependency: "operations", retry_after: Duration::from_secs(1) };
        for error in [CallError::DeadlineExceeded, away()] {
            assert!(said("discard-7", error).contains("--request-id discard-7"));
        }
        assert!(!said("", away()).contains("--request-id"), "a dry run");
        let refused = CallError::Rejected(Rejection::failed_precondition("DISCARD_SET_EMPTY", "no dead letter fits"));
        assert!(!said("discard-7", refused).contains("--request-id"));
    }

    #[test]
    fn without_a_terminal_only_yes_goes_on() {
        let args = |yes| ActArgs { reason: None, dry_run: false, yes, request_id: None };
        assert!(args(true).confirm("Go on?").is_ok());
        if !io::stdin().is_terminal() {
            let refused = args(false).confirm("Go on?").unwrap_err().to_string();
            assert!(refused.contains("--yes"), "{refused}");
        }
    }

    #[test]
    fn a_request_id_is_new_unless_it_is_given() {
        let mut args = ActArgs { reason: None, dry_run: true, yes: false, request_id: None };
        assert_ne!(args.request_id("replay"), args.request_id("replay"));
        assert!(openorder_types::RequestId::parse(&args.request_id("discard")).is_ok());
        args.request_id = Some("mine".to_owned());
        assert_eq!(args.request_id("replay"), "mine");
    }
}
