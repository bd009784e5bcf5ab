//! The use cases, one file each.

mod act;
mod discard;
mod events;
mod letters;
mod observe;
mod parked;
mod payload;
mod replay;
mod selection;
mod trail;

use std::{pin::Pin, sync::Arc};

use anyhow::Context;
use futures::Stream;
use openorder_messaging::{Backbone, KafkaSettings, RoleContext, lag::LagReader};
use openorder_proto::FILE_DESCRIPTOR_SET;
use openorder_rpc::{CallContext, PageTokens, query_failed, status};
use openorder_telemetry::Traced;
use openorder_types::{CallError, Fault};
use prost_reflect::DescriptorPool;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{OperationsSettings, services::Services};

/// The progress of a replay.
pub(crate) type Progress<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers of a replay that may wait for a slow caller.
const WAITING_MAX: usize = 16;

/// The use cases, with all that they need.
pub(crate) struct Operations {
    role: RoleContext,
    settings: OperationsSettings,
    lag: LagReader,
    backbone: Arc<Backbone>,
    services: Services,
    page_tokens: PageTokens,
    contract: DescriptorPool,
    replays: Arc<Semaphore>,
}

impl Operations {
    pub(crate) fn new(
        role: RoleContext,
        settings: OperationsSettings,
        kafka: &KafkaSettings,
        backbone: Arc<Backbone>,
        services: Services,
        page_tokens: PageTokens,
    ) -> anyhow::Result<Self> {
        let contract = DescriptorPool::decode(FILE_DESCRIPTOR_SET).context("the contract's descriptors")?;
        let replays = Arc::new(Semaphore::new(settings.replays_max));
        let lag = LagReader::new(kafka);
        Ok(Self { role, settings, lag, backbone, services, page_tokens, contract, replays })
    }

    fn pool(&self) -> &PgPool {
        self.backbone.pool()
    }

    /// A place among the replays at work, so that they have a bound.
    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let overloaded = |_| status(CallError::Overloaded { retry_after: CallError::OUTAGE_RETRY_AFTER });
        Arc::clone(&self.replays).try_acquire_owned().map_err(overloaded)
    }
}

/// The cause is logged; the caller learns at most that something is away.
fn logged(fault: Fault) -> Status {
    status(query_failed(fault))
}

/// The call without the time that its caller waits: for work that goes on.
fn unbounded(call: &CallContext, work: &Traced) -> CallContext {
    CallContext { deadline: None, trace: work.context().clone(), ..call.clone() }
}
