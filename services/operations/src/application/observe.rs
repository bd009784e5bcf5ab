//! Lag and health.

use std::time::Duration;

use chrono::Utc;
use openorder_messaging::lag::{self, GroupLag};
use openorder_proto::internal::operations::v1::GetPipelineStateRequest;
use openorder_proto::operations::v1 as proto;
use openorder_proto::operations::v1::{
    DependencyHealth, GetConsumerLagRequest, GetConsumerLagResponse, GetPipelineHealthResponse, PipelineState,
    RoleHealth,
};
use openorder_rpc::{CallContext, Refusal, timestamp_to_proto};
use openorder_types::Timestamp;
use tonic::Status;

use super::{Operations, logged};
use crate::{
    domain::{Observed, Thresholds, concerns},
    persistence,
    services::ask_each,
};

impl Operations {
    pub(crate) async fn get_consumer_lag(
        &self,
        message: GetConsumerLagRequest,
    ) -> Result<GetConsumerLagResponse, Status> {
        let services = self.services.chosen(&message.groups)?;
        let observe_time = Utc::now();
        let groups: Vec<String> = services.iter().map(|service| service.role.to_owned()).collect();
        let found = self.lag.read(&groups).await.map_err(|error| {
            tracing::warn!(%error, "the lag cannot be read from Kafka");
            Refusal::dependency_unavailable(Duration::from_secs(1))
        })?;
        let mut groups: Vec<_> = found.into_iter().filter(GroupLag::is_known).map(group).collect();
        groups.sort_by(|one, other| one.group.cmp(&other.group));
        Ok(GetConsumerLagResponse { groups, observe_time: Some(timestamp_to_proto(&observe_time)) })
    }

    pub(crate) async fn get_pipeline_health(&self, call: &CallContext) -> Result<GetPipelineHealthResponse, Status> {
        let observe_time = Utc::now();
        let services = self.services.chosen(&[])?;
        let groups: Vec<String> = services.iter().map(|service| service.role.to_owned()).collect();
        let states = ask_each(
            services,
            |service| service.role,
            |mut service| {
                let request = self.services.request(call, GetPipelineStateRequest {});
                async move { service.client.get_pipeline_state(request).await }
            },
        );
        let (states, lags) = tokio::join!(states, self.lag.read(&groups));
        let states = states?;
        let lag_error = lags.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let lags = lags.unwrap_or_default();
        let unfinished_acts = persistence::unfinished(self.pool(), self.alive_within()).await.map_err(logged)?;
        let lags = Lags { groups: &lags, are_known: lag_error.is_empty(), now: observe_time };
        let mut roles: Vec<RoleHealth> = self
            .services
            .roles()
            .map(|role| {
                let given = states.given.iter().find(|(one, _)| *one == role);
                let state = given.and_then(|(_, answer)| answer.state.clone());
                let missing = states.unreachable.iter().find(|one| one.role == role);
                self.role_health(role, state, missing.map_or("", |one| one.detail.as_str()), &lags)
            })
            .collect();
        roles.push(self.role_health(self.role.telemetry.role(), Some(self.own_state()), "", &lags));
        Ok(GetPipelineHealthResponse {
            healthy: unfinished_acts == 0 && lag_error.is_empty() && roles.iter().all(|role| role.concerns.is_empty()),
            roles,
            unfinished_acts,
            lag_error,
            observe_time: Some(timestamp_to_proto(&observe_time)),
        })
    }

    fn role_health(&self, role: &str, state: Option<PipelineState>, missing: &str, lags: &Lags<'_>) -> RoleHealth {
        let lag = lags.groups.iter().find(|lag| lag.group == role);
        let thresholds = Thresholds {
            unpublished_age_max: Duration::from_millis(self.settings.unpublished_age_max_ms),
            lag_age_max: Duration::from_millis(self.settings.lag_age_max_ms),
        };
        let observed = Observed { state: state.as_ref().ok_or(missing), lag, now: lags.now };
        RoleHealth {
            role: role.to_owned(),
            reachable: state.is_some(),
            concerns: concerns(observed, thresholds),
            lag: if lags.are_known { lag.map_or(0, GroupLag::total) } else { -1 },
            state,
        }
    }

    /// This role has dependencies, and no part in the pipeline.
    fn own_state(&self) -> PipelineState {
        let role = self.role.telemetry.role();
        let states = self.role.readiness.snapshot().into_iter().filter(|state| state.role == role);
        let dependencies = states.map(|state| DependencyHealth {
            name: state.name,
            need: state.need.to_string(),
            state: state.state.to_string(),
            detail: state.detail,
        });
        PipelineState { dependencies: dependencies.collect(), ..Default::default() }
    }
}

/// The lag of all groups, and when it was read.
struct Lags<'a> {
    groups: &'a [GroupLag],
    are_known: bool,
    now: Timestamp,
}

fn group(group: GroupLag) -> proto::GroupLag {
    proto::GroupLag {
        lag: group.total(),
        oldest_time: group.oldest().as_ref().map(timestamp_to_proto),
        members: i32::try_from(group.members).unwrap_or(i32::MAX),
        partitions: group.partitions.into_iter().map(partition).collect(),
        group: group.group,
        state: group.state,
    }
}

fn partition(partition: lag::PartitionLag) -> proto::PartitionLag {
    proto::PartitionLag {
        topic: partition.topic,
        partition: partition.partition,
        committed_offset: partition.committed_offset.unwrap_or(-1),
        end_offset: partition.end_offset,
        lag: partition.lag,
        exact: partition.exact,
        oldest_time: partition.oldest.as_ref().map(timestamp_to_proto),
        member: partition.member,
    }
}
