//! Which commands of a batch are executed, and what answers the others.

use std::collections::HashMap;

use openorder_types::{CallError, Rejection};
use uuid::Uuid;

use super::{Answer, Batch};
use crate::{
    Application, Envelope, Reply,
    request_results::{Key, Seen},
};

/// Which commands of a batch are new, and what answers the others.
pub(super) struct Plan<R> {
    /// Index in the batch of each command to execute.
    pub(super) fresh: Vec<usize>,
    /// One a command of the batch.
    pub(super) sources: Vec<Source<R>>,
}

pub(super) enum Source<R> {
    /// Outcome of the fresh command with this number, which it is itself.
    Own(usize),
    /// Outcome of the fresh command with this number, which asks for the same.
    Shared(usize),
    /// Known before.
    Known(Answer<R>),
}

impl<R: Reply> Plan<R> {
    pub(super) fn new<A: Application<Reply = R>>(batch: Batch<'_, A>, seen: &Seen) -> Self {
        let count = batch.waiting.len();
        let mut plan = Self { fresh: Vec::with_capacity(count), sources: Vec::with_capacity(count) };
        let mut here: HashMap<Uuid, (usize, &Key)> = HashMap::with_capacity(count);
        for (index, waiting) in batch.waiting.iter().enumerate() {
            let source = match &waiting.key {
                None => plan.add(index),
                Some(key) => match seen.get(&key.id()) {
                    Some(stored) => Source::Known(stored.answer(key)),
                    None => match here.get(&key.id()) {
                        Some((number, first)) if first.means_the_same(key) => Source::Shared(*number),
                        Some(_) => Source::Known(Err(key.reused().into())),
                        None => {
                            here.insert(key.id(), (plan.fresh.len(), key));
                            plan.add(index)
                        }
                    },
                },
            };
            plan.sources.push(source);
        }
        plan
    }

    /// The commands to execute.
    pub(super) fn envelopes<'a, A: Application<Reply = R>>(
        &self,
        batch: Batch<'a, A>,
    ) -> Vec<Envelope<'a, A::Command>> {
        self.fresh.iter().filter_map(|index| Some(batch.submitted.get(*index)?.lent())).collect()
    }

    /// The keys of the executed commands that have one, each with its reply, if it is done.
    pub(super) fn executed<'a, A: Application<Reply = R>>(
        &'a self,
        batch: Batch<'a, A>,
        replies: impl Iterator<Item = Option<&'a R>>,
    ) -> impl Iterator<Item = (&'a Key, Option<&'a R>)> {
        let executed = self.fresh.iter().zip(replies);
        executed.filter_map(move |(index, reply)| Some((batch.waiting.get(*index)?.key.as_ref()?, reply)))
    }

    fn add(&mut self, index: usize) -> Source<R> {
        self.fresh.push(index);
        Source::Own(self.fresh.len() - 1)
    }

    /// One answer a command of the batch.
    pub(super) fn answers(self, outcomes: Vec<Result<R, Rejection>>) -> Vec<Answer<R>> {
        let answer = |outcome: Option<Result<R, Rejection>>| match outcome {
            Some(outcome) => outcome.map_err(CallError::Rejected),
            None => Err(CallError::Internal),
        };
        let shares = self.sources.iter().map(|source| match source {
            Source::Shared(number) => Some(answer(outcomes.get(*number).cloned())),
            Source::Own(_) | Source::Known(_) => None,
        });
        let shares: Vec<Option<Answer<R>>> = shares.collect();
        // Those that were executed come in the order of their outcomes.
        let mut outcomes = outcomes.into_iter();
        let answers = self.sources.into_iter().zip(shares).map(|(source, share)| match (source, share) {
            (Source::Known(answer), _) | (Source::Shared(_), Some(answer)) => answer,
            (Source::Own(_) | Source::Shared(_), _) => answer(outcomes.next()),
        });
        answers.collect()
    }
}
