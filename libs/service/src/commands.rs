//! Calls become commands.

use std::future::Future;

use openorder_messaging::{Application, Committer, RequestKey};
use openorder_rpc::{CallContext, RequestFingerprint};
use openorder_types::CallError;

/// What the committer has for calls.
pub trait Commands<A: Application> {
    /// Submits the command that a call asks for, under its request id, and waits for its commit. The reply is of the kind
    /// that the call answers with.
    ///
    /// # Errors
    /// As [`Committer::submit`]; `Internal` when the use case gave a reply of another kind.
    fn call<R>(
        &self,
        call: &CallContext,
        fingerprint: RequestFingerprint,
        request_id: String,
        command: A::Command,
    ) -> impl Future<Output = Result<R, CallError>> + Send
    where
        R: TryFrom<A::Reply, Error = CallError> + Send;

    /// As [`Self::call`], under a key that was made before.
    ///
    /// # Errors
    /// As [`Self::call`].
    fn call_under<R>(
        &self,
        call: &CallContext,
        key: RequestKey,
        command: A::Command,
    ) -> impl Future<Output = Result<R, CallError>> + Send
    where
        R: TryFrom<A::Reply, Error = CallError> + Send;

    /// What a command of a call answered before; `None` of one that was not done.
    ///
    /// # Errors
    /// As [`Committer::recall`]; `Internal` when it was a reply of another kind.
    fn recall_call<R>(&self, key: &RequestKey) -> impl Future<Output = Result<Option<R>, CallError>> + Send
    where
        R: TryFrom<A::Reply, Error = CallError> + Send;
}

impl<A: Application> Commands<A> for Committer<A> {
    async fn call<R>(
        &self,
        call: &CallContext,
        fingerprint: RequestFingerprint,
        request_id: String,
        command: A::Command,
    ) -> Result<R, CallError>
    where
        R: TryFrom<A::Reply, Error = CallError> + Send,
    {
        self.call_under(call, request_key(call, fingerprint, request_id), command).await
    }

    async fn call_under<R>(&self, call: &CallContext, key: RequestKey, command: A::Command) -> Result<R, CallError>
    where
        R: TryFrom<A::Reply, Error = CallError> + Send,
    {
        let method = key.method;
        let reply = self.submit(Some(key), command, call.trace.clone(), call.deadline).await?;
        R::try_from(reply).inspect_err(|_| other_kind(method))
    }

    async fn recall_call<R>(&self, key: &RequestKey) -> Result<Option<R>, CallError>
    where
        R: TryFrom<A::Reply, Error = CallError> + Send,
    {
        let reply = self.recall(key).await?;
        reply.map(R::try_from).transpose().inspect_err(|_| other_kind(key.method))
    }
}

/// Under which the first result of a call's command is kept.
pub fn request_key(call: &CallContext, fingerprint: RequestFingerprint, request_id: String) -> RequestKey {
    RequestKey {
        caller: call.caller.subject.clone(),
        request_id,
        method: fingerprint.method,
        fingerprint: fingerprint.meaning,
        fingerprint_as_sent: fingerprint.as_sent,
        reply: None,
    }
}

fn other_kind(method: &'static str) {
    tracing::error!(method, "a use case gave a reply of another kind than its call answers with");
}
