//! Whether Redis is there, and has what it was given.

use std::{sync::Arc, time::Duration};

use openorder_messaging::Backbone;
use openorder_runtime::{Again, Dependency, every};
use openorder_telemetry::meter;
use openorder_types::Fault;
use uuid::Uuid;

use crate::{persistence, store::Store};

/// Looks after Redis until shutdown. What it was given and has no more is told: an operator is to know that carts were
/// lost, and customers are not told by anybody else.
pub(crate) async fn watch(store: Arc<Store>, backbone: Arc<Backbone>, dependency: Dependency, interval: Duration) {
    let shutdown = backbone.shutdown().clone();
    let losses = meter()
        .u64_counter("openorder.cart.losses")
        .with_unit("{loss}")
        .with_description("How often Redis came back without the carts that it had")
        .build();
    // So that the first loss is a change.
    losses.add(0, &[]);
    let mut known = None;
    let mut is_away = false;
    let mut rounds = every(interval, &shutdown);
    while rounds.next().await {
        let found = store.mark(Uuid::now_v7()).await;
        match &found {
            Ok(_) => {
                dependency.ready();
                if std::mem::take(&mut is_away) {
                    tracing::info!("Redis is back, and carts with it if it kept them");
                }
            }
            Err(fault) => {
                dependency.down(fault);
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%fault, "Redis is away: carts cannot be seen and changed; orders go on");
                }
            }
        }
        let Ok(found) = found else { continue };
        if found == known {
            continue;
        }
        let noted = note(&backbone, found).await;
        if let Ok(is_lost) = noted {
            known = found;
            if is_lost {
                losses.add(1, &[]);
                tracing::warn!("all carts were lost: Redis came back without them; orders are not concerned");
            }
        }
        rounds.ended(noted.map(|_| Again::Later), "it cannot be noted that Redis has the carts; it is later");
    }
}

/// Whether carts are lost that there were: one instance says so.
async fn note(backbone: &Backbone, found: Option<Uuid>) -> Result<bool, Fault> {
    match found {
        Some(mark) => persistence::note_mark(backbone.pool(), mark).await,
        None => Ok(false),
    }
}
