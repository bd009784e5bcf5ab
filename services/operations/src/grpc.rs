//! `openorder.operations.v1.OperationsService`: who calls, what is asked for, and the answer.

mod parse;

use std::sync::Arc;

use openorder_proto::operations::v1::{
    CancelReplayRequest, CancelReplayResponse, DiscardDeadLettersRequest, DiscardDeadLettersResponse,
    GetConsumerLagRequest, GetConsumerLagResponse, GetDeadLetterRequest, GetDeadLetterResponse,
    GetPipelineHealthRequest, GetPipelineHealthResponse, ListAuditEntriesRequest, ListAuditEntriesResponse,
    ListDeadLettersRequest, ListDeadLettersResponse, ListParkedMessagesRequest, ListParkedMessagesResponse,
    ReplayDeadLettersRequest, ReplayDeadLettersResponse, ReplayEventsRequest, ReplayEventsResponse,
    operations_service_server::{OperationsService, OperationsServiceServer},
};
use openorder_rpc::{CallContext, rejection};
use openorder_types::Rejection;
use tonic::{Request, Response, Status, service::Routes};

use crate::application::{Operations, Progress};

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

#[tonic::async_trait]
impl OperationsService for OperationsGrpc {
    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let (call, message) = taken(request)?;
        parse::dead_letters(&message).map_err(rejection)?;
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
        parse::replay(&message).map_err(rejection)?;
        self.0.replay_dead_letters(&call, message).await.map(Response::new)
    }

    async fn cancel_replay(
        &self,
        request: Request<CancelReplayRequest>,
    ) -> Result<Response<CancelReplayResponse>, Status> {
        let (call, message) = taken(request)?;
        parse::cancel(&message).map_err(rejection)?;
        self.0.cancel_replay(&call, message).await.map(Response::new)
    }

    async fn discard_dead_letters(
        &self,
        request: Request<DiscardDeadLettersRequest>,
    ) -> Result<Response<DiscardDeadLettersResponse>, Status> {
        let (call, message) = taken(request)?;
        parse::discard(&message).map_err(rejection)?;
        self.0.discard_dead_letters(&call, message).await.map(Response::new)
    }

    async fn list_parked_messages(
        &self,
        request: Request<ListParkedMessagesRequest>,
    ) -> Result<Response<ListParkedMessagesResponse>, Status> {
        let (call, message) = taken(request)?;
        parse::parked(&message).map_err(rejection)?;
        self.0.list_parked_messages(&call, message).await.map(Response::new)
    }

    type ReplayEventsStream = Progress<ReplayEventsResponse>;

    async fn replay_events(
        &self,
        request: Request<ReplayEventsRequest>,
    ) -> Result<Response<Self::ReplayEventsStream>, Status> {
        let (call, message) = taken(request)?;
        parse::replay_events(&message).map_err(rejection)?;
        self.0.replay_events(&call, message).await.map(Response::new)
    }

    async fn get_consumer_lag(
        &self,
        request: Request<GetConsumerLagRequest>,
    ) -> Result<Response<GetConsumerLagResponse>, Status> {
        let (_, message) = taken(request)?;
        parse::lag(&message).map_err(rejection)?;
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
        parse::audit(&message).map_err(rejection)?;
        self.0.list_audit_entries(&call, message).await.map(Response::new)
    }
}
