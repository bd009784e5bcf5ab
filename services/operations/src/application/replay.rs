//! Replays of dead letters. The groups freeze their sets and do the work; this follows it and keeps the trail.

use std::{sync::Arc, time::Duration};

use openorder_proto::internal::operations::v1::{
    CancelGroupReplayRequest, CountGroupReplayRequest, CountGroupReplayResponse, GetGroupReplayRequest, GroupReplay,
    StartGroupReplayRequest,
};
use openorder_proto::operations::v1::{
    CancelReplayRequest, CancelReplayResponse, ReplayDeadLettersRequest, ReplayDeadLettersResponse,
    ReplayGroupProgress, ReplayPhase,
};
use openorder_rpc::{CallContext, passed_on, reason_of, rejection};
use openorder_runtime::OnExit;
use openorder_telemetry::work_span;
use openorder_types::Rejection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Operations, Progress, WAITING_MAX,
    act::{ActRequest, Begun},
    logged,
    selection::{self, Target},
    unbounded,
};
use crate::{
    persistence,
    services::{Answers, ask_each, is_away},
};

const METHOD: &str = "ReplayDeadLetters";
const RATE_DEFAULT: i32 = 50;

type Sender = mpsc::Sender<Result<ReplayDeadLettersResponse, Status>>;

/// A job that a group has, as the intent remembers it; and how far it was when it was last seen.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Job {
    group: String,
    job_id: String,
    total: i64,
    released: i64,
    succeeded: i64,
    failed: i64,
    left_out: i64,
    in_other_replays: i64,
    #[serde(skip)]
    ended: bool,
}

/// The set of a replay, and in the end its outcome.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Jobs {
    jobs: Vec<Job>,
}

impl Job {
    fn see(&mut self, replay: &GroupReplay) {
        self.total = replay.items;
        self.released = (replay.items - replay.waiting - replay.left_out).max(0);
        (self.succeeded, self.failed, self.left_out) = (replay.succeeded, replay.failed, replay.left_out);
        self.ended = replay.ended;
    }

    fn progress(&self) -> ReplayGroupProgress {
        ReplayGroupProgress {
            group: self.group.clone(),
            total: self.total,
            released: self.released,
            succeeded: self.succeeded,
            failed: self.failed,
            left_out: self.left_out,
            in_other_replays: self.in_other_replays,
            waiting_behind: 0,
        }
    }
}

impl Jobs {
    fn phase(&self) -> ReplayPhase {
        let all = |holds: fn(&Job) -> bool| self.jobs.iter().all(holds);
        if all(|job| job.ended) {
            ReplayPhase::Done
        } else if all(|job| job.released + job.left_out >= job.total) {
            ReplayPhase::Settling
        } else {
            ReplayPhase::Running
        }
    }

    fn answer(&self, phase: ReplayPhase, begun: &Begun) -> ReplayDeadLettersResponse {
        let groups = self.jobs.iter().map(Job::progress).collect();
        ReplayDeadLettersResponse { phase: phase.into(), groups, audit_entry_id: begun.entry_id() }
    }
}

impl Operations {
    pub(crate) async fn replay_dead_letters(
        self: &Arc<Self>,
        call: &CallContext,
        message: ReplayDeadLettersRequest,
    ) -> Result<Progress<ReplayDeadLettersResponse>, Status> {
        let targets = self.targets(&message.dead_letter_ids, message.filter.as_ref())?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let answers: Progress<ReplayDeadLettersResponse> = Box::pin(ReceiverStream::new(receiver));
        if message.dry_run {
            let counted = self.count(call, &targets).await?;
            send(&sender, dry_run(counted));
            return Ok(answers);
        }
        let place = self.place()?;
        let set = selection::shown(&message.dead_letter_ids, message.filter.as_ref());
        let request = ActRequest {
            method: METHOD,
            request_id: &message.request_id,
            reason: &message.reason,
            message: &message,
            arguments: json!({ "set": set, "rate_per_second": rate(&message) }),
        };
        let begun = self.begin(call, request).await?;
        if let Some(jobs) = begun.act.outcome.clone().and_then(|outcome| serde_json::from_value::<Jobs>(outcome).ok()) {
            send(&sender, jobs.answer(ReplayPhase::Done, &begun));
            return Ok(answers);
        }
        let jobs = self.frozen(call, &begun, &message, targets).await?;
        send(&sender, jobs.answer(ReplayPhase::Frozen, &begun));
        let work = self.traced(call, &begun, work_span!("follow replay"));
        let follow = Arc::clone(self).follow(unbounded(call, &work), begun, jobs, sender, place);
        self.role.tasks.spawn("replay", OnExit::Ignore, work.run(follow));
        Ok(answers)
    }

    /// The set: as it was fixed before, or fixed now.
    async fn frozen(
        &self,
        call: &CallContext,
        begun: &Begun,
        message: &ReplayDeadLettersRequest,
        targets: Vec<Target>,
    ) -> Result<Jobs, Status> {
        let known = begun.act.frozen.clone().and_then(|frozen| serde_json::from_value(frozen).ok());
        if let Some(jobs) = known {
            return Ok(jobs);
        }
        let mut counted = Vec::new();
        // An intent that was there before may have frozen some groups already, whose letters would count as another's.
        if begun.act.is_new {
            match self.checked(call, &targets, message).await {
                Ok(found) => counted = found,
                Err(refusal) => return Err(self.refuse(begun, refusal).await),
            }
        }
        let empty =
            |target: &Target| counted.iter().any(|(role, count)| *role == target.service.role && count.items == 0);
        let mut jobs = Jobs::default();
        for target in targets.into_iter().filter(|target| !empty(target)) {
            let role = target.service.role;
            match self.start(call, target, message).await {
                Ok(Some(mut job)) => {
                    let count = counted.iter().find(|(group, _)| *group == role);
                    job.in_other_replays = count.map_or(0, |(_, count)| count.in_other_replays);
                    jobs.jobs.push(job);
                }
                Ok(None) => {}
                Err(status) => return Err(self.break_off(begun, status).await),
            }
        }
        if jobs.jobs.is_empty() {
            return Err(self.refuse(begun, set_empty()).await);
        }
        let frozen = serde_json::to_value(&jobs).unwrap_or_default();
        persistence::set_frozen(self.pool(), &begun.act, &frozen).await.map_err(logged)?;
        Ok(jobs)
    }

    /// Refuses a set that is empty, that names what is not dead, or that another replay has.
    async fn checked(
        &self,
        call: &CallContext,
        targets: &[Target],
        message: &ReplayDeadLettersRequest,
    ) -> Result<Vec<(&'static str, CountGroupReplayResponse)>, Status> {
        let counted = self.count(call, targets).await?;
        let items: i64 = counted.iter().map(|(_, count)| count.items).sum();
        let elsewhere: i64 = counted.iter().map(|(_, count)| count.in_other_replays).sum();
        let named: usize = targets.iter().map(|target| target.filter.sequences.len()).sum();
        let by_name = !message.dead_letter_ids.is_empty();
        if elsewhere > 0 && (by_name || items == 0) {
            let text = format!("{elsewhere} of the dead letters are in another replay");
            return Err(rejection(Rejection::failed_precondition("ALREADY_IN_REPLAY", text)));
        }
        if by_name && items < i64::try_from(named).unwrap_or(i64::MAX) {
            return Err(not_dead(named, items));
        }
        if items == 0 {
            return Err(set_empty());
        }
        Ok(counted)
    }

    /// What a replay of each target would touch; all of them have to answer.
    pub(super) async fn count(
        &self,
        call: &CallContext,
        targets: &[Target],
    ) -> Result<Vec<(&'static str, CountGroupReplayResponse)>, Status> {
        let answers = ask_each(
            targets.to_vec(),
            |target| target.service.role,
            |mut target| {
                let request = self.services.request(call, CountGroupReplayRequest { filter: Some(target.filter) });
                async move { target.service.client.count_group_replay(request).await }
            },
        );
        answers.await.and_then(Answers::complete)
    }

    /// Has a group begin; none when it has nothing to do.
    async fn start(
        &self,
        call: &CallContext,
        mut target: Target,
        message: &ReplayDeadLettersRequest,
    ) -> Result<Option<Job>, Status> {
        let message = StartGroupReplayRequest {
            request_id: message.request_id.clone(),
            filter: Some(target.filter),
            reason: message.reason.clone(),
            rate_per_second: rate(message),
            items_max: self.settings.replay_letters_max,
        };
        let started = target.service.client.start_group_replay(self.services.request(call, message)).await;
        match started {
            Ok(started) => {
                let replay = started.into_inner().replay.unwrap_or_default();
                let group = target.service.role.to_owned();
                let mut job = Job { group, job_id: replay.job_id.clone(), ..Job::default() };
                job.see(&replay);
                Ok(Some(job))
            }
            Err(status) if reason_of(&status).as_deref() == Some("NOTHING_TO_REPLAY") => Ok(None),
            Err(status) => Err(passed_on(&status)),
        }
    }

    /// Follows the jobs to their end, whoever still listens, and writes how they ended.
    async fn follow(
        self: Arc<Self>,
        call: CallContext,
        begun: Begun,
        mut jobs: Jobs,
        sender: Sender,
        _place: OwnedSemaphorePermit,
    ) {
        let interval = Duration::from_millis(self.settings.progress_interval_ms);
        loop {
            if let Err(failure) = self.look(&call, &mut jobs).await {
                drop(sender.try_send(Err(self.break_off(&begun, failure).await)));
                return;
            }
            let phase = jobs.phase();
            if phase == ReplayPhase::Done {
                let outcome = serde_json::to_value(&jobs).unwrap_or_default();
                let ended = self.finish(&begun, &outcome).await.map(|()| jobs.answer(phase, &begun));
                drop(sender.send(ended).await);
                return;
            }
            send(&sender, jobs.answer(phase, &begun));
            self.keep_alive(&begun).await;
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                // The groups go on; the same request id follows them again.
                () = self.role.shutdown.requested() => return,
            }
        }
    }

    /// Looks how far the jobs are. A service that is away is looked at again later.
    async fn look(&self, call: &CallContext, jobs: &mut Jobs) -> Result<(), Status> {
        for job in jobs.jobs.iter_mut().filter(|job| !job.ended) {
            let mut service = self.services.find(&job.group)?;
            let request = self.services.request(call, GetGroupReplayRequest { job_id: job.job_id.clone() });
            match service.client.get_group_replay(request).await {
                Ok(found) => job.see(&found.into_inner().replay.unwrap_or_default()),
                Err(status) if is_away(&status) => {
                    tracing::debug!(group = job.group, "a service is away; its replay is looked at again");
                }
                Err(status) => return Err(passed_on(&status)),
            }
        }
        Ok(())
    }

    pub(crate) async fn cancel_replay(
        &self,
        call: &CallContext,
        message: CancelReplayRequest,
    ) -> Result<CancelReplayResponse, Status> {
        let unknown = || rejection(Rejection::not_found("REPLAY_UNKNOWN", "there is no replay of that request id"));
        let found = persistence::find_request(self.pool(), &message.request_id, METHOD).await.map_err(logged)?;
        let act = found.into_iter().next().ok_or_else(unknown)?;
        let jobs = act.frozen.clone().and_then(|frozen| serde_json::from_value::<Jobs>(frozen).ok());
        let mut jobs = jobs.ok_or_else(unknown)?;
        // The cancellation is an act of its own; asking again cancels nothing more.
        let request_id = format!("cancel-{}", act.request_id).chars().take(64).collect::<String>();
        let request = ActRequest {
            method: "CancelReplay",
            request_id: &request_id,
            reason: &message.reason,
            message: &CancelReplayRequest { reason: String::new(), ..message.clone() },
            arguments: json!({ "request_id": message.request_id, "caller": act.caller }),
        };
        let begun = self.begin(call, request).await?;
        for job in &mut jobs.jobs {
            let mut service = self.services.find(&job.group)?;
            let request = self.services.request(call, CancelGroupReplayRequest { job_id: job.job_id.clone() });
            match service.client.cancel_group_replay(request).await {
                Ok(cancelled) => job.see(&cancelled.into_inner().replay.unwrap_or_default()),
                Err(status) => return Err(self.break_off(&begun, passed_on(&status)).await),
            }
        }
        self.finish(&begun, &serde_json::to_value(&jobs).unwrap_or_default()).await?;
        let groups = jobs.jobs.iter().map(Job::progress).collect();
        Ok(CancelReplayResponse { groups, audit_entry_id: begun.entry_id() })
    }
}

fn rate(message: &ReplayDeadLettersRequest) -> i32 {
    if message.rate_per_second == 0 { RATE_DEFAULT } else { message.rate_per_second }
}

fn set_empty() -> Status {
    rejection(Rejection::failed_precondition("REPLAY_SET_EMPTY", "no dead letter fits"))
}

/// Letters were named that are not dead.
pub(super) fn not_dead(named: usize, dead: i64) -> Status {
    let text = format!("of the {named} letters that were named, only {dead} are dead letters");
    rejection(Rejection::failed_precondition("NOT_A_DEAD_LETTER", text))
}

fn dry_run(counted: Vec<(&'static str, CountGroupReplayResponse)>) -> ReplayDeadLettersResponse {
    let touched = counted.into_iter().filter(|(_, count)| count.items > 0 || count.in_other_replays > 0);
    let groups = touched.map(|(role, count)| ReplayGroupProgress {
        group: role.to_owned(),
        total: count.items,
        in_other_replays: count.in_other_replays,
        waiting_behind: count.waiting_behind,
        ..Default::default()
    });
    ReplayDeadLettersResponse {
        phase: ReplayPhase::Done.into(),
        groups: groups.collect(),
        audit_entry_id: String::new(),
    }
}

/// Progress that a slow caller misses is part of the next.
fn send(sender: &Sender, answer: ReplayDeadLettersResponse) {
    drop(sender.try_send(Ok(answer)));
}
