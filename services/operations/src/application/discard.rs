//! Discards of dead letters.

use std::sync::Arc;

use openorder_proto::internal::operations::v1::{DiscardGroupDeadLettersRequest, ListGroupDeadLettersRequest};
use openorder_proto::operations::v1::{DiscardDeadLettersRequest, DiscardDeadLettersResponse, DiscardGroupResult};
use openorder_rpc::{CallContext, passed_on, rejection, status};
use openorder_telemetry::work_span;
use openorder_types::{CallError, Rejection};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tonic::Status;

use super::{
    Operations,
    act::{ActRequest, Begun},
    letters::sequence_of,
    logged, replay,
    selection::{self, Target},
    unbounded,
};
use crate::persistence;

const METHOD: &str = "DiscardDeadLetters";
/// Letters that a group discards in one call: each may be of a record's largest size, and a call has its deadline.
const BATCH: usize = 25;
/// Letters that are listed in one call.
const PAGE: i32 = 1_000;

/// What one group is to discard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Part {
    group: String,
    sequences: Vec<i64>,
    in_replay: i64,
}

/// How it ended in one group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Done {
    group: String,
    discarded: i64,
    in_replay: i64,
    unknown: i64,
}

impl Operations {
    pub(crate) async fn discard_dead_letters(
        self: &Arc<Self>,
        call: &CallContext,
        message: DiscardDeadLettersRequest,
    ) -> Result<DiscardDeadLettersResponse, Status> {
        let targets = self.targets(&message.dead_letter_ids, message.filter.as_ref())?;
        if message.dry_run {
            let counted = self.count(call, &targets).await?;
            let touched = counted.into_iter().filter(|(_, count)| count.items > 0 || count.in_other_replays > 0);
            let groups = touched.map(|(role, count)| DiscardGroupResult {
                group: role.to_owned(),
                discarded: count.items,
                in_replay: count.in_other_replays,
            });
            return Ok(DiscardDeadLettersResponse { groups: groups.collect(), audit_entry_id: String::new() });
        }
        let request = ActRequest {
            method: METHOD,
            request_id: &message.request_id,
            reason: &message.reason,
            message: &message,
            arguments: json!({ "set": selection::shown(&message.dead_letter_ids, message.filter.as_ref()) }),
        };
        let begun = self.begin(call, request).await?;
        if let Some(done) = begun.act.outcome.clone().and_then(|outcome| serde_json::from_value(outcome).ok()) {
            return Ok(answer(done, &begun));
        }
        // On a task of its own: a caller that leaves must not leave half of it undone.
        let work = self.traced(call, &begun, work_span!("discard dead letters"));
        let (operations, call) = (Arc::clone(self), unbounded(call, &work));
        let discard = async move { operations.carry_out(&call, begun, message, targets).await };
        // In the trace of the call, whose id is the reference of what fails.
        let discard = tokio::spawn(work.run(discard));
        discard.await.unwrap_or_else(|_| Err(status(CallError::Internal)))
    }

    async fn carry_out(
        &self,
        call: &CallContext,
        begun: Begun,
        message: DiscardDeadLettersRequest,
        targets: Vec<Target>,
    ) -> Result<DiscardDeadLettersResponse, Status> {
        let parts = match begun.act.frozen.clone().and_then(|frozen| serde_json::from_value(frozen).ok()) {
            Some(parts) => parts,
            None => match self.parts(call, targets, !message.dead_letter_ids.is_empty()).await {
                Ok(parts) => parts,
                Err(refusal) => return Err(self.refuse(&begun, refusal).await),
            },
        };
        let frozen = serde_json::to_value(&parts).unwrap_or_default();
        persistence::set_frozen(self.pool(), &begun.act, &frozen).await.map_err(logged)?;
        let mut done = Vec::with_capacity(parts.len());
        for part in parts {
            match self.discard_part(call, &begun, part, &message.reason).await {
                Ok(of_group) => done.push(of_group),
                Err(failure) => return Err(self.break_off(&begun, failure).await),
            }
        }
        self.finish(&begun, &serde_json::to_value(&done).unwrap_or_default()).await?;
        Ok(answer(done, &begun))
    }

    /// The letters by name, so that what dies later is not among them.
    async fn parts(&self, call: &CallContext, targets: Vec<Target>, by_name: bool) -> Result<Vec<Part>, Status> {
        let named: usize = targets.iter().map(|target| target.filter.sequences.len()).sum();
        let mut parts = Vec::new();
        let mut count = 0;
        for target in targets {
            let part = self.part(call, target, &mut count).await?;
            if !part.sequences.is_empty() || part.in_replay > 0 {
                parts.push(part);
            }
        }
        let in_replay: i64 = parts.iter().map(|part| part.in_replay).sum();
        if in_replay > 0 && (by_name || count == 0) {
            let text = format!("{in_replay} of the dead letters are in a replay");
            return Err(rejection(Rejection::failed_precondition("ALREADY_IN_REPLAY", text)));
        }
        if by_name && count < named {
            return Err(replay::not_dead(named, i64::try_from(count).unwrap_or(i64::MAX)));
        }
        if count == 0 {
            return Err(rejection(Rejection::failed_precondition("DISCARD_SET_EMPTY", "no dead letter fits")));
        }
        Ok(parts)
    }

    async fn part(&self, call: &CallContext, mut target: Target, count: &mut usize) -> Result<Part, Status> {
        let mut part = Part { group: target.service.role.to_owned(), ..Part::default() };
        let mut after_sequence = 0;
        loop {
            let filter = Some(target.filter.clone());
            let message = ListGroupDeadLettersRequest { filter, after_sequence, page_size: PAGE };
            let page = target.service.client.list_group_dead_letters(self.services.request(call, message)).await;
            let page = page.map_err(|status| passed_on(&status))?.into_inner();
            for letter in page.dead_letters {
                match letter.replay_job_id.is_empty() {
                    true => part.sequences.push(sequence_of(&letter.dead_letter_id)),
                    false => part.in_replay += 1,
                }
            }
            if *count + part.sequences.len() > self.settings.discard_letters_max {
                let text = format!(
                    "more than {} dead letters fit; narrow the filter, or raise operations.discard_letters_max",
                    self.settings.discard_letters_max
                );
                return Err(rejection(Rejection::failed_precondition("DISCARD_SET_TOO_LARGE", text)));
            }
            if page.next_sequence == 0 {
                *count += part.sequences.len();
                return Ok(part);
            }
            after_sequence = page.next_sequence;
        }
    }

    async fn discard_part(&self, call: &CallContext, begun: &Begun, part: Part, reason: &str) -> Result<Done, Status> {
        let mut service = self.services.find(&part.group)?;
        let mut done = Done { group: part.group, in_replay: part.in_replay, ..Done::default() };
        for sequences in part.sequences.chunks(BATCH) {
            let message = DiscardGroupDeadLettersRequest { sequences: sequences.to_vec(), reason: reason.to_owned() };
            let of_batch = service.client.discard_group_dead_letters(self.services.request(call, message)).await;
            let of_batch = of_batch.map_err(|status| passed_on(&status))?.into_inner();
            done.discarded += of_batch.discarded;
            done.in_replay += of_batch.in_replay;
            done.unknown += of_batch.unknown;
            self.keep_alive(begun).await;
        }
        Ok(done)
    }
}

fn answer(done: Vec<Done>, begun: &Begun) -> DiscardDeadLettersResponse {
    let groups = done.into_iter().map(|done| DiscardGroupResult {
        group: done.group,
        discarded: done.discarded,
        in_replay: done.in_replay,
    });
    DiscardDeadLettersResponse { groups: groups.collect(), audit_entry_id: begun.entry_id() }
}
