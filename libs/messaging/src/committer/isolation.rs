//! A batch that failed is taken apart in one transaction, so that a command that cannot succeed costs its neighbours
//! one more transaction and not one for each time that the batch is halved.

use std::{ops::Range, panic::AssertUnwindSafe, time::SystemTime};

use futures::FutureExt;
use openorder_types::{CallError, Fault, Rejection};

use super::{
    Answer, Batch, Worker,
    plan::{Plan, Source},
};
use crate::{Application, Envelope, UnitOfWork, request_results};

/// What came of one command.
pub(super) enum Verdict<R> {
    /// It is done, or was refused by the domain.
    Answered(Answer<R>),
    /// It alone failed, and always will.
    Guilty(Fault),
    /// It failed here and may succeed in a transaction of its own.
    Again,
}

type Outcome<R> = Result<Result<R, Rejection>, Fault>;

impl<A: Application> Worker<A> {
    /// Executes a batch piece by piece, each piece behind a savepoint, halves a piece that fails until the guilty
    /// command stands alone, and commits all others together.
    ///
    /// # Errors
    /// An outage, or whatever fails at the commit itself: then nothing of the batch is kept.
    pub(super) async fn isolate(&self, batch: Batch<'_, A>) -> Result<Vec<Verdict<A::Reply>>, Fault> {
        let started = SystemTime::now();
        let result = self.isolated(batch).await;
        self.record(batch, started, result.as_ref().err());
        result
    }

    async fn isolated(&self, batch: Batch<'_, A>) -> Result<Vec<Verdict<A::Reply>>, Fault> {
        let prepared = self.prepare_pieces(batch).await?;
        let mut unit = UnitOfWork::begin_batch(self.backbone.pool(), self.backbone.telemetry()).await?;
        let plan = self.plan(&mut unit, batch, true).await?;
        let envelopes = plan.envelopes(batch);
        let unprepared: Vec<Option<&Fault>> =
            plan.fresh.iter().map(|index| prepared.get(*index).and_then(Option::as_ref)).collect();
        let outcomes = self.execute_pieces(&mut unit, &envelopes, &unprepared).await?;
        let executed = plan.executed(batch, outcomes.iter().map(|outcome| outcome.as_ref().ok()?.as_ref().ok()));
        let now = unit.now();
        request_results::settle(unit.connection(), executed, now).await?;
        let events = unit.commit().await?;
        self.backbone.appended(events);
        Ok(verdicts(plan, &outcomes))
    }

    /// Prepares a batch piece by piece, before the transaction. Gives for each command the fault of its preparation.
    ///
    /// # Errors
    /// An outage.
    async fn prepare_pieces(&self, batch: Batch<'_, A>) -> Result<Vec<Option<Fault>>, Fault> {
        let mut faults = Vec::with_capacity(batch.len());
        let whole = 0..batch.len();
        let mut pieces: Vec<Range<usize>> = vec![whole];
        while let Some(piece) = pieces.pop() {
            let commands = batch.piece(piece.clone());
            let prepared = AssertUnwindSafe(self.prepare(commands)).catch_unwind().await;
            match prepared.unwrap_or_else(|_| Err(super::panicked())) {
                Ok(()) => faults.extend(std::iter::repeat_with(|| None).take(commands.len())),
                Err(outage @ Fault::Outage { .. }) => return Err(outage),
                Err(fault) if commands.len() == 1 => faults.push(Some(fault)),
                Err(_) => pieces.extend(halves(piece)),
            }
        }
        Ok(faults)
    }

    async fn execute_pieces(
        &self,
        unit: &mut UnitOfWork,
        envelopes: &[Envelope<'_, A::Command>],
        unprepared: &[Option<&Fault>],
    ) -> Result<Vec<Outcome<A::Reply>>, Fault> {
        let mut outcomes = Vec::with_capacity(envelopes.len());
        // As a whole it has failed before.
        let mut pieces: Vec<Range<usize>> = halves(0..envelopes.len());
        while let Some(piece) = pieces.pop() {
            let commands = envelopes.get(piece.clone()).unwrap_or_default();
            let fault = unprepared.get(piece.clone()).unwrap_or_default().iter().find_map(|fault| *fault);
            let prepared = fault.cloned().map_or(Ok(()), Err);
            let savepoint = unit.set_savepoint().await?;
            let executed = AssertUnwindSafe(self.execute(unit, commands, prepared)).catch_unwind().await;
            match executed.unwrap_or_else(|_| Err(super::panicked())) {
                // The pieces come in the order of their commands.
                Ok(of_piece) => outcomes.extend(of_piece.into_iter().map(Ok)),
                Err(outage @ Fault::Outage { .. }) => return Err(outage),
                Err(fault) => {
                    unit.roll_back_to(savepoint).await?;
                    match commands {
                        [_] => outcomes.push(Err(fault)),
                        _ => pieces.extend(halves(piece)),
                    }
                }
            }
        }
        Ok(outcomes)
    }
}

/// Both halves, the first one last: it is taken first, and commands keep their order.
fn halves(piece: Range<usize>) -> Vec<Range<usize>> {
    let middle = piece.start + piece.len() / 2;
    [middle..piece.end, piece.start..middle].into_iter().filter(|half| !half.is_empty()).collect()
}

fn verdicts<R: Clone>(plan: Plan<R>, outcomes: &[Outcome<R>]) -> Vec<Verdict<R>> {
    let verdict = |source| match source {
        Source::Known(answer) => Verdict::Answered(answer),
        Source::Own(number) | Source::Shared(number) => match outcomes.get(number) {
            Some(Ok(outcome)) => Verdict::Answered(outcome.clone().map_err(CallError::Rejected)),
            Some(Err(fault @ Fault::Permanent { .. })) => Verdict::Guilty(fault.clone()),
            Some(Err(_)) | None => Verdict::Again,
        },
    };
    plan.sources.into_iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_taken_in_order_and_end_at_one() {
        assert_eq!(halves(0..5), [2..5, 0..2]);
        assert_eq!(halves(3..5), [4..5, 3..4]);
        assert_eq!(
            halves(7..8),
            std::slice::from_ref(&(7..8)),
            "a batch of one is tried once more, behind a savepoint"
        );
        assert_eq!(halves(0..0), []);
    }
}
