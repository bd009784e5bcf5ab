//! What operators see of the sagas.

use std::sync::Arc;

use futures::FutureExt;
use openorder_messaging::Backbone;
use openorder_pipeline::{Pipeline, SagaCounts};
use openorder_types::Fault;
use sqlx::PgPool;

use crate::persistence;

/// The service's part of the pipeline, with its sagas that are not at their end.
pub(crate) fn with_saga_counts(pipeline: Pipeline, backbone: &Arc<Backbone>) -> Pipeline {
    let pool = backbone.pool().clone();
    pipeline.with_sagas(move || count(pool.clone()).boxed())
}

async fn count(pool: PgPool) -> Result<SagaCounts, Fault> {
    let counts = persistence::count_unsettled_sagas(&pool).await?;
    Ok(counts.into_iter().map(|(step, count)| (step.as_str(), count)).collect())
}
