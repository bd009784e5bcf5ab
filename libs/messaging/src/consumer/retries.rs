//! Parked messages are tried again: many keys in one transaction, each key in its order.

use std::{collections::HashSet, time::SystemTime};

use openorder_faults as faults;
use openorder_telemetry::Span;
use openorder_types::Fault;

use crate::{
    Application, DecodeError, Envelope, Received, UnitOfWork,
    consumer::{
        batch::{Handler, Search, guarded},
        due::{self, Due},
        failure::{Failure, Verdict},
        parking::Park,
        spans,
        stored::{self, Key},
    },
    database::is_timeout,
};

/// Where a failure was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    InTable(Verdict),
    /// Among the dead there was no room for it.
    WithoutRow,
}

/// What a transaction of retries came to.
enum Tried {
    /// Committed; so many were taken.
    Done(usize),
    /// Nothing is kept: these were tried together, or one of them alone.
    Failed(Vec<Due>, Fault),
}

impl<A: Application> Handler<A> {
    /// Tries parked messages that are due, at most a batch of them. Gives how many there were.
    ///
    /// # Errors
    /// An outage: nothing is counted as an attempt, and their time comes again.
    pub(crate) async fn retry(
        &self,
        decode: impl Fn(&Received) -> Result<Option<A::Command>, DecodeError>,
    ) -> Result<usize, Fault> {
        // What waits here is tried one by one without delay where the database runs into its time limits: found out
        // wrongly, a message comes to no harm by it.
        let mut search = Search::new(true);
        let mut parts = match self.try_due(None, &decode).await? {
            Tried::Done(count) => return Ok(count),
            Tried::Failed(all, fault) => vec![self.halves_or_note(all, fault, &mut search).await?],
        };
        let mut count = 0;
        while let Some([first, second]) = parts.pop() {
            if !second.is_empty() {
                parts.push([second, Vec::new()]);
            }
            if first.is_empty() {
                continue;
            }
            match self.try_due(Some(&first), &decode).await? {
                Tried::Done(done) => {
                    search.succeeded();
                    count += done;
                }
                Tried::Failed(all, fault) => parts.push(self.halves_or_note(all, fault, &mut search).await?),
            }
        }
        // At least one of them was taken in hand.
        Ok(count.max(1))
    }

    /// The halves of what failed together; nothing of what failed alone, which is noted.
    async fn halves_or_note(
        &self,
        mut all: Vec<Due>,
        fault: Fault,
        search: &mut Search,
    ) -> Result<[Vec<Due>; 2], Fault> {
        let failure = if is_timeout(&fault) && search.goes_on(all.len()) {
            Failure::timed_out(&fault)
        } else {
            Failure::of(fault)?
        };
        if let [guilty] = all.as_slice() {
            self.note_failure(guilty, &failure).await?;
            return Ok([Vec::new(), Vec::new()]);
        }
        let second = all.split_off(all.len() / 2);
        Ok([all, second])
    }

    /// Looks at what is due (or at `part` again) and prepares it; then, in one transaction, takes it, runs it, lets it
    /// leave.
    async fn try_due(
        &self,
        part: Option<&[Due]>,
        decode: &impl Fn(&Received) -> Result<Option<A::Command>, DecodeError>,
    ) -> Result<Tried, Fault> {
        let looked_at = match part {
            None => due::look(self.backbone.pool(), self.settings.retry_batch_max).await?,
            Some(part) => part.to_vec(),
        };
        if looked_at.is_empty() {
            return Ok(Tried::Done(0));
        }
        let started = SystemTime::now();
        let prepared = guarded(self.prepare(&Decoded::of(&looked_at, decode).commands())).await;
        let mut unit = UnitOfWork::begin(self.backbone.pool(), self.backbone.telemetry()).await?;
        let taken = due::take(unit.connection(), &looked_at).await?;
        if taken.is_empty() {
            return Ok(Tried::Done(0));
        }
        let decoded = Decoded::of(&taken, decode);
        let telemetry = self.backbone.telemetry();
        let span = |due: &Due| match due.has_failed() {
            true => spans::process_again(telemetry, &due.message, started),
            false => spans::process(telemetry, &due.message, started),
        };
        let spans: Vec<Span> = decoded.commands.iter().map(|(due, _)| span(due)).collect();
        let lent = decoded.commands.iter().zip(&spans);
        let envelopes: Vec<Envelope<'_, A::Command>> =
            lent.map(|((_, command), span)| Envelope { command, trace: span.context() }).collect();
        let result = guarded(self.run(&mut unit, &decoded, &envelopes, prepared)).await;
        let result = match result {
            Ok(noted) => unit.commit().await.map(|events| (events, noted)),
            Err(fault) => Err(fault),
        };
        let count = envelopes.len();
        spans::finish(&self.backbone, spans, started, count, result.as_ref().err());
        let noted = match result {
            Ok((events, noted)) => {
                self.backbone.appended(events);
                noted
            }
            Err(outage @ Fault::Outage { .. }) if !is_timeout(&outage) => return Err(outage),
            Err(fault) => return Ok(Tried::Failed(taken, fault)),
        };
        let role = telemetry.role();
        for (due, _) in &decoded.commands {
            self.metrics.attempt_succeeded(role, &due.message.topic);
        }
        for ((due, failure), noted) in decoded.broken.iter().zip(noted) {
            self.report_noted(due, failure, noted);
        }
        Ok(Tried::Done(taken.len()))
    }

    async fn run(
        &self,
        unit: &mut UnitOfWork,
        decoded: &Decoded<'_, A::Command>,
        envelopes: &[Envelope<'_, A::Command>],
        prepared: Result<(), Fault>,
    ) -> Result<Vec<Option<Noted>>, Fault> {
        let now = unit.now();
        self.execute(unit, envelopes, prepared).await?;
        if decoded.replays {
            faults::point(faults::REPLAY_ITEM).await?;
            due::note_replayed(unit.connection(), &decoded.handled, now).await?;
        }
        let mut noted = Vec::with_capacity(decoded.broken.len());
        for (due, failure) in &decoded.broken {
            noted.push(self.write_failure(unit, due, failure).await?);
        }
        due::remove(unit.connection(), &decoded.handled, now).await?;
        Ok(noted)
    }

    /// Writes down a failed attempt and gives what it comes to; `None` where another instance was faster.
    async fn write_failure(&self, unit: &mut UnitOfWork, due: &Due, failure: &Failure) -> Result<Option<Noted>, Fault> {
        let now = unit.now();
        let attempts = due.attempts.saturating_add(1);
        let verdict = failure.verdict(attempts, &self.settings, now);
        // One that a replay let out has its place among the dead still.
        if verdict == Verdict::Dead && due.replay_job_id.is_none() && !self.has_room_for_dead(unit).await? {
            let park = Park { message: &due.message, recorded: due.recorded, failed: Some((failure, verdict)) };
            self.without_row.publish_after(park, attempts, now).await?;
            due::remove(unit.connection(), &[due.sequence], now).await?;
            return Ok(Some(Noted::WithoutRow));
        }
        if !due::note_failure(unit.connection(), due, failure, verdict, &self.settings, now).await? {
            return Ok(None);
        }
        if verdict == Verdict::Dead {
            due::note_failed_again(unit.connection(), due, failure, now).await?;
        }
        Ok(Some(Noted::InTable(verdict)))
    }

    async fn note_failure(&self, due: &Due, failure: &Failure) -> Result<(), Fault> {
        let mut unit = UnitOfWork::begin(self.backbone.pool(), self.backbone.telemetry()).await?;
        let noted = self.write_failure(&mut unit, due, failure).await?;
        unit.commit().await?;
        self.report_noted(due, failure, noted);
        Ok(())
    }

    fn report_noted(&self, due: &Due, failure: &Failure, noted: Option<Noted>) {
        let attempts = due.attempts.saturating_add(1);
        match noted {
            Some(Noted::InTable(verdict)) => self.log_failure(&due.message, failure, attempts, verdict),
            Some(Noted::WithoutRow) => self.report_without_row(&due.message, failure, attempts),
            None => {}
        }
    }
}

/// Taken messages by what they mean.
struct Decoded<'a, C> {
    /// To be run.
    commands: Vec<(&'a Due, C)>,
    /// Those of `commands`, and those that mean nothing: they leave.
    handled: Vec<i64>,
    /// They can never be handled; what waits behind them stays.
    broken: Vec<(&'a Due, Failure)>,
    replays: bool,
}

impl<'a, C> Decoded<'a, C> {
    fn commands(&self) -> Vec<&C> {
        self.commands.iter().map(|(_, command)| command).collect()
    }

    fn of(taken: &'a [Due], decode: &impl Fn(&Received) -> Result<Option<C>, DecodeError>) -> Self {
        let mut decoded = Self { commands: Vec::new(), handled: Vec::new(), broken: Vec::new(), replays: false };
        let mut stopped: HashSet<Key> = HashSet::new();
        for due in taken {
            if stopped.contains(&stored::key(&due.message)) {
                continue;
            }
            match decode(&due.message) {
                Ok(command) => {
                    decoded.handled.push(due.sequence);
                    decoded.replays |= due.replay_job_id.is_some();
                    decoded.commands.extend(command.map(|command| (due, command)));
                }
                Err(error) => {
                    stopped.insert(stored::key(&due.message));
                    decoded.broken.push((due, Failure::undecodable(&error)));
                }
            }
        }
        decoded
    }
}
