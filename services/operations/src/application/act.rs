//! What all acts have in common: the intent behind the request id, the entry in the trail before anything is done, and
//! the outcome after it.

use std::time::Duration;

use openorder_rpc::{CallContext, RequestFingerprint, reason_of, rejection};
use openorder_telemetry::{Traced, fail_work};
use openorder_types::{Fault, Rejection};
use prost::{Message, Name};
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use tonic::Status;
use uuid::Uuid;

use super::{Operations, logged};
use crate::persistence::{self, Act, NewAct, NewEntry, State};

/// An act as its caller requests it.
pub(super) struct ActRequest<'a, M> {
    pub(super) method: &'static str,
    pub(super) request_id: &'a str,
    pub(super) reason: &'a str,
    /// The whole message: the request id belongs to its content.
    pub(super) message: &'a M,
    /// What the trail shows of it.
    pub(super) arguments: Value,
}

/// An act that has begun, or has ended before.
pub(super) struct Begun {
    pub(super) act: Act,
    /// Its entry in the trail; of one that has ended, the last one.
    pub(super) entry: Uuid,
}

impl Begun {
    /// The entry as answers show it.
    pub(super) fn entry_id(&self) -> String {
        self.entry.to_string()
    }
}

impl Operations {
    /// Claims the request id and writes the entry, both or neither: an intent without an entry would be an act that
    /// nobody can find. An act that has its outcome already gets no other entry.
    pub(super) async fn begin<M: Message + Name>(
        &self,
        call: &CallContext,
        request: ActRequest<'_, M>,
    ) -> Result<Begun, Status> {
        let fingerprint = RequestFingerprint::of(request.method, request.message).meaning;
        let (caller, entry) = (call.caller.subject.as_str(), Uuid::now_v7());
        let (method, request_id) = (request.method, request.request_id);
        let new = NewAct { caller, request_id, method, fingerprint: &fingerprint, audit_entry_id: entry };
        let mut transaction = self.transaction().await.map_err(logged)?;
        let act = persistence::claim(&mut transaction, &new).await.map_err(logged)?;
        if act.method != method || act.fingerprint != fingerprint {
            let text = "the request id stands for another request already";
            return Err(rejection(Rejection::already_exists("REQUEST_ID_REUSED", text)));
        }
        if act.outcome.is_some() {
            return Ok(Begun { entry: act.audit_entry_id, act });
        }
        let trace_id = if call.trace.is_valid() { call.trace.trace_id() } else { String::new() };
        let new = NewEntry {
            audit_entry_id: entry,
            method,
            caller,
            reason: request.reason,
            request_id,
            arguments: &request.arguments,
            trace_id: &trace_id,
        };
        persistence::begin(&mut *transaction, &new).await.map_err(logged)?;
        persistence::keep_alive(&mut *transaction, &act, entry).await.map_err(logged)?;
        transaction.commit().await.map_err(Fault::from).map_err(logged)?;
        tracing::info!(method, request_id, caller, reason = request.reason, audit_entry_id = %entry, "an operator acts");
        Ok(Begun { act, entry })
    }

    /// Ends an act that changed nothing; its request id is free again. Gives the refusal back.
    pub(super) async fn refuse(&self, begun: &Begun, refusal: Status) -> Status {
        let outcome = json!({ "reason": reason_of(&refusal), "message": refusal.message() });
        let done = async {
            let mut transaction = self.transaction().await?;
            persistence::complete(&mut *transaction, begun.entry, State::Refused, &outcome).await?;
            persistence::forget(&mut *transaction, &begun.act).await?;
            transaction.commit().await.map_err(Fault::from)
        };
        if let Err(fault) = done.await {
            tracing::warn!(%fault, audit_entry_id = %begun.entry, "a refusal is missing in the trail");
        }
        refusal
    }

    /// What is done for an act after its call: a span of its own below the call's.
    pub(super) fn traced(&self, call: &CallContext, begun: &Begun, span: tracing::Span) -> Traced {
        let work = self.role.telemetry.trace(span, &call.trace);
        work.set("openorder.audit_entry.id", begun.entry_id());
        work
    }

    /// Ends an act that was broken off; the same request id goes on with it. Gives the failure back.
    pub(super) async fn break_off(&self, begun: &Begun, failure: Status) -> Status {
        let reason = reason_of(&failure).unwrap_or_else(|| format!("{:?}", failure.code()));
        tracing::warn!(audit_entry_id = %begun.entry, reason, "an act was broken off; its request id goes on with it");
        fail_work(&reason, "the act was broken off");
        let outcome = json!({ "reason": reason_of(&failure), "message": failure.message() });
        if let Err(fault) = persistence::complete(self.pool(), begun.entry, State::Failed, &outcome).await {
            tracing::warn!(%fault, audit_entry_id = %begun.entry, "a failure is missing in the trail");
        }
        failure
    }

    /// Ends an act that was done.
    pub(super) async fn finish(&self, begun: &Begun, outcome: &Value) -> Result<(), Status> {
        let done = async {
            let mut transaction = self.transaction().await?;
            persistence::set_outcome(&mut *transaction, &begun.act, outcome).await?;
            persistence::complete(&mut *transaction, begun.entry, State::Succeeded, outcome).await?;
            transaction.commit().await.map_err(Fault::from)
        };
        done.await.map_err(logged)
    }

    /// An act and its entry in the trail change together, or not at all.
    async fn transaction(&self) -> Result<Transaction<'static, Postgres>, Fault> {
        Ok(self.pool().begin().await?)
    }

    /// Notes that the act is being worked on; a failure shows soon enough elsewhere.
    pub(super) async fn keep_alive(&self, begun: &Begun) {
        if let Err(fault) = persistence::keep_alive(self.pool(), &begun.act, begun.entry).await {
            tracing::debug!(%fault, "no sign of life was written");
        }
    }

    /// After how long without a sign of life an act counts as unfinished.
    pub(super) fn alive_within(&self) -> Duration {
        Duration::from_millis(self.settings.unfinished_after_ms)
    }
}
