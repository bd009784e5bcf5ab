//! `openorder.operations.v1.OperationsService`: who calls, what is asked for, and the answer.

use std::sync::Arc;

use openorder_proto::operations::v1::{
    CancelReplayRequest, CancelReplayResponse, DiscardDeadLettersRequest, DiscardDeadLettersResponse,
    GetConsumerLagRequest, GetConsumerLagResponse, GetDeadLetterRequest, GetDeadLetterResponse,
    GetPipelineHealthRequest, GetPipelineHealthResponse, ListAuditEntriesRequest, ListAuditEntriesResponse,
    ListDeadLettersRequest, ListDeadLettersResponse, ListParkedMessagesRequest, ListParkedMessagesResponse,
    ReplayDeadLettersRequest, ReplayDeadLettersResponse, ReplayEventsRequest, ReplayEventsResponse,
    operations_service_server::{OperationsService, OperationsServiceServer},
};
use openorder_rpc::{CallContext, Violations, rejection};
use openorder_types::{Rejection, RequestId};
use tonic::{Request, Response, Status, service::Routes};

use crate::application::{Operations, Progress};

/// Longest reason of an act, in characters.
const REASON_LENGTH_MAX: usize = 500;
const RATE_MAX: i32 = 10_000;

/// The service's routes.
pub(crate) fn service(operations: Arc<Operations>) -> Routes {
    Routes::new(OperationsServiceServer::new(OperationsGrpc(operations)))
}

struct OperationsGrpc(Arc<Operations>);

/// The caller and the message of a request, if the caller is an operator.
fn taken<T>(request: Request<T>) -> Result<(CallContext, T), Status> {
    let call = CallContext::of(&request).map_err(rejection)?;
    if call.caller.is_operator() {
        return Ok((call, request.into_inner()));
    }
    Err(rejection(Rejection::permission_denied("ROLE_REQUIRED", "only operators may do this")))
}

/// What every act has to say: an id, and why; and how fast, where that matters.
fn check_act(request_id: &str, dry_run: bool, reason: &str, rate_per_second: i32) -> Result<(), Status> {
    let mut violations = Violations::new();
    // A dry run changes nothing: it needs neither.
    if !dry_run {
        violations.take("request_id", RequestId::parse(request_id));
        if reason.trim().is_empty() {
            violations.add("reason", "REASON_MISSING", "must say why: it stands in the audit trail");
        }
    }
    if reason.chars().count() > REASON_LENGTH_MAX || reason.chars().any(char::is_control) {
        violations.add(
            "reason",
            "REASON_MALFORMED",
            format!("must be at most {REASON_LENGTH_MAX} printable characters"),
        );
    }
    if !(0..=RATE_MAX).contains(&rate_per_second) {
        violations.add("rate_per_second", "RATE_OUT_OF_RANGE", format!("must be from 1 to {RATE_MAX}, or 0"));
    }
    violations.finish().map_err(rejection)
}

#[tonic::async_trait]
impl OperationsService for OperationsGrpc {
    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let (call, message) = taken(request)?;
        self.0.list_dead_letters(&call, message).await.map(Response::new)
    }

    async fn get_dead_letter(
        &self,
        request: Request<GetDeadLetterRequest>,
    ) -> Result<Response<GetDeadLetterResponse>, Status> {
        let (call, message) = taken(request)?;
        self.0.get_dead_letter(&call, message).await.map(Response::new)
    }

    type ReplayDeadLettersStream = Progress<ReplayDeadLettersResponse>;

    async fn replay_dead_letters(
        &self,
        request: Request<ReplayDeadLettersRequest>,
    ) -> Result<Response<Self::ReplayDeadLettersStream>, Status> {
        let (call, message) = taken(request)?;
        check_act(&message.request_id, message.dry_run, &message.reason, message.rate_per_second)?;
        self.0.replay_dead_letters(&call, message).await.map(Response::new)
    }

    async fn cancel_replay(
        &self,
        request: Request<CancelReplayRequest>,
    ) -> Result<Response<CancelReplayResponse>, Status> {
        let (call, message) = taken(request)?;
        check_act(&message.request_id, false, &message.reason, 0)?;
        self.0.cancel_replay(&call, message).await.map(Response::new)
    }

    async fn discard_dead_letters(
        &self,
        request: Request<DiscardDeadLettersRequest>,
    ) -> Result<Response<DiscardDeadLettersResponse>, Status> {
        let (call, message) = taken(request)?;
        check_act(&message.request_id, message.dry_run, &message.reason, 0)?;
        self.0.discard_dead_letters(&call, message).await.map(Response::new)
    }

    async fn list_parked_messages(
        &self,
        request: Request<ListParkedMessagesRequest>,
    ) -> Result<Response<ListParkedMessagesResponse>, Status> {
        let (call, message) = taken(request)?;
        self.0.list_parked_messages(&call, message).await.map(Response::new)
    }

    type ReplayEventsStream = Progress<ReplayEventsResponse>;

    async fn replay_events(
        &self,
        request: Request<ReplayEventsRequest>,
    ) -> Result<Response<Self::ReplayEventsStream>, Status> {
        let (call, message) = taken(request)?;
        check_act(&message.request_id, message.dry_run, &message.reason, message.rate_per_second)?;
        self.0.replay_events(&call, message).await.map(Response::new)
    }

    async fn get_consumer_lag(
        &self,
        request: Request<GetConsumerLagRequest>,
    ) -> Result<Response<GetConsumerLagResponse>, Status> {
        let (_, message) = taken(request)?;
        self.0.get_consumer_lag(message).await.map(Response::new)
    }

    async fn get_pipeline_health(
        &self,
        request: Request<GetPipelineHealthRequest>,
    ) -> Result<Response<GetPipelineHealthResponse>, Status> {
        let (call, _) = taken(request)?;
        self.0.get_pipeline_health(&call).await.map(Response::new)
    }

    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let (call, message) = taken(request)?;
        self.0.list_audit_entries(&call, message).await.map(Response::new)
    }
}
