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
use openorder_rpc::{CallContext, calls, rejection};
use tonic::{Status, service::Routes};

use crate::application::{Operations, Progress};

/// The service's routes.
pub(crate) fn service(operations: Arc<Operations>) -> Routes {
    Routes::new(OperationsServiceServer::new(OperationsGrpc(operations)))
}

struct OperationsGrpc(Arc<Operations>);

impl OperationsGrpc {
    async fn dead_letters(
        &self,
        call: CallContext,
        message: ListDeadLettersRequest,
    ) -> Result<ListDeadLettersResponse, Status> {
        parse::dead_letters(&message).map_err(rejection)?;
        self.0.list_dead_letters(&call, message).await
    }

    async fn dead_letter(
        &self,
        call: CallContext,
        message: GetDeadLetterRequest,
    ) -> Result<GetDeadLetterResponse, Status> {
        let answer = self.0.get_dead_letter(&call, message).await?;
        if call.caller.is_operator() {
            return Ok(answer);
        }
        // What is in a message may be about a customer: who only looks on sees that it is there.
        Ok(GetDeadLetterResponse { payload: Vec::new(), payload_json: String::new(), ..answer })
    }

    async fn replay(
        &self,
        call: CallContext,
        message: ReplayDeadLettersRequest,
    ) -> Result<Progress<ReplayDeadLettersResponse>, Status> {
        parse::replay(&message).map_err(rejection)?;
        self.0.replay_dead_letters(&call, message).await
    }

    async fn cancel(&self, call: CallContext, message: CancelReplayRequest) -> Result<CancelReplayResponse, Status> {
        parse::cancel(&message).map_err(rejection)?;
        self.0.cancel_replay(&call, message).await
    }

    async fn discard(
        &self,
        call: CallContext,
        message: DiscardDeadLettersRequest,
    ) -> Result<DiscardDeadLettersResponse, Status> {
        parse::discard(&message).map_err(rejection)?;
        self.0.discard_dead_letters(&call, message).await
    }

    async fn parked(
        &self,
        call: CallContext,
        message: ListParkedMessagesRequest,
    ) -> Result<ListParkedMessagesResponse, Status> {
        parse::parked(&message).map_err(rejection)?;
        self.0.list_parked_messages(&call, message).await
    }

    async fn events(
        &self,
        call: CallContext,
        message: ReplayEventsRequest,
    ) -> Result<Progress<ReplayEventsResponse>, Status> {
        parse::replay_events(&message).map_err(rejection)?;
        self.0.replay_events(&call, message).await
    }

    async fn lag(&self, _: CallContext, message: GetConsumerLagRequest) -> Result<GetConsumerLagResponse, Status> {
        parse::lag(&message).map_err(rejection)?;
        self.0.get_consumer_lag(message).await
    }

    async fn health(
        &self,
        call: CallContext,
        _: GetPipelineHealthRequest,
    ) -> Result<GetPipelineHealthResponse, Status> {
        self.0.get_pipeline_health(&call).await
    }

    async fn audit(
        &self,
        call: CallContext,
        message: ListAuditEntriesRequest,
    ) -> Result<ListAuditEntriesResponse, Status> {
        parse::audit(&message).map_err(rejection)?;
        self.0.list_audit_entries(&call, message).await
    }
}

calls! {
    impl OperationsService for OperationsGrpc {
        list_dead_letters(ListDeadLettersRequest) -> ListDeadLettersResponse = dead_letters, operator_reads;
        get_dead_letter(GetDeadLetterRequest) -> GetDeadLetterResponse = dead_letter, operator_reads;
        replay_dead_letters(ReplayDeadLettersRequest) -> Progress<ReplayDeadLettersResponse> as ReplayDeadLettersStream = replay, operator;
        cancel_replay(CancelReplayRequest) -> CancelReplayResponse = cancel, operator;
        discard_dead_letters(DiscardDeadLettersRequest) -> DiscardDeadLettersResponse = discard, operator;
        list_parked_messages(ListParkedMessagesRequest) -> ListParkedMessagesResponse = parked, operator_reads;
        replay_events(ReplayEventsRequest) -> Progress<ReplayEventsResponse> as ReplayEventsStream = events, operator;
        get_consumer_lag(GetConsumerLagRequest) -> GetConsumerLagResponse = lag, operator_reads;
        get_pipeline_health(GetPipelineHealthRequest) -> GetPipelineHealthResponse = health, operator_reads;
        list_audit_entries(ListAuditEntriesRequest) -> ListAuditEntriesResponse = audit, operator_reads;
    }
}
