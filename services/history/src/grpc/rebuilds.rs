//! StartRebuild, GetRebuild, CancelRebuild.

use openorder_proto::history::v1::{
    CancelRebuildRequest, CancelRebuildResponse, GetRebuildRequest, GetRebuildResponse, StartRebuildRequest,
    StartRebuildResponse,
};
use openorder_rpc::{CallContext, RequestFingerprint, query_failed};
use openorder_service::Commands;
use openorder_types::{CallError, Fault};
use uuid::Uuid;

use crate::{
    application::Command,
    domain::rejection,
    grpc::{HistoryGrpc, parse},
    persistence, present,
};

impl HistoryGrpc {
    pub(super) async fn start_rebuild(
        &self,
        call: CallContext,
        message: StartRebuildRequest,
    ) -> Result<StartRebuildResponse, CallError> {
        let (request_id, reason) = parse::rebuild(&message)?;
        let fingerprint = RequestFingerprint::of("StartRebuild", &message);
        let requested_by = call.caller.subject.clone();
        let command = Command::Rebuild { rebuild_id: Uuid::now_v7(), requested_by, reason };
        let rebuild = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(StartRebuildResponse { rebuild: Some(rebuild) })
    }

    pub(super) async fn rebuild(
        &self,
        _: CallContext,
        message: GetRebuildRequest,
    ) -> Result<GetRebuildResponse, CallError> {
        let rebuild_id = parse::get_rebuild(&message)?;
        let mut connection = self.backbone.pool().acquire().await.map_err(|error| query_failed(Fault::from(error)))?;
        let found = persistence::find_rebuild(&mut connection, rebuild_id).await.map_err(query_failed)?;
        let rebuild = found.ok_or_else(rejection::rebuild_not_found)?;
        let sources = persistence::sources_of(&mut connection, rebuild.rebuild_id).await.map_err(query_failed)?;
        Ok(GetRebuildResponse { rebuild: Some(present::rebuild(&rebuild, &sources)) })
    }

    pub(super) async fn cancel_rebuild(
        &self,
        call: CallContext,
        message: CancelRebuildRequest,
    ) -> Result<CancelRebuildResponse, CallError> {
        let (request_id, rebuild_id) = parse::cancel_rebuild(&message)?;
        let fingerprint = RequestFingerprint::of("CancelRebuild", &message);
        let command = Command::CancelRebuild { rebuild_id };
        let rebuild = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(CancelRebuildResponse { rebuild: Some(rebuild) })
    }
}
