//! Checkouts that are needed no more go.

use std::{sync::Arc, time::Duration};

use openorder_messaging::Backbone;
use openorder_runtime::{Again, every};

use crate::{config::CartSettings, persistence};

const LATER: &str = "old checkouts cannot be deleted; they are later";

/// Deletes old checkouts until shutdown. An order whose checkout is gone takes nothing out of a cart.
pub(crate) async fn run(backbone: Arc<Backbone>, settings: CartSettings) {
    let shutdown = backbone.shutdown().clone();
    let keep = Duration::from_millis(settings.checkout_keep_ms);
    let mut rounds = every(Duration::from_millis(settings.upkeep_interval_ms), &shutdown);
    while rounds.next().await {
        let deleted = persistence::delete_old_checkouts(backbone.pool(), keep, settings.upkeep_batch_max).await;
        let again = deleted.map(|is_more| if is_more { Again::AtOnce } else { Again::Later });
        rounds.ended(again, LATER);
    }
}
