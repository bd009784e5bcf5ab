//! Reading documents of the half that is in use, whichever that is by the end of the query.

use std::sync::{
    Arc,
    atomic::{AtomicI16, Ordering},
};

use openorder_messaging::{Backbone, SharedReads};
use openorder_types::Fault;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    domain::{Half, View},
    persistence::{self, Filter, Found},
};

/// How often a query is put once more because another half came into use meanwhile: a rebuild takes longer than a query.
const TRIES_MAX: usize = 3;

/// Reads documents.
///
/// Which half is in use is remembered, and looked up after each query: a half is emptied after it went out of use, so a
/// query behind which it is still in use has seen all of it.
#[derive(Clone)]
pub struct Views {
    backbone: Arc<Backbone>,
    current: Arc<Current>,
    single: SharedReads<Uuid, View>,
}

#[derive(Default)]
struct Current(AtomicI16);

impl Current {
    fn get(&self) -> Half {
        Half::of(self.0.load(Ordering::Relaxed))
    }

    /// Whether this half is in use; the other one is remembered if it is not.
    async fn is_still(&self, connection: &mut PgConnection, half: Half) -> Result<bool, Fault> {
        let current = persistence::current_half(connection).await?;
        self.0.store(current.number(), Ordering::Relaxed);
        Ok(current == half)
    }
}

fn changes_too_often() -> Fault {
    Fault::retryable("another half came into use at each try")
}

impl Views {
    pub fn new(backbone: &Arc<Backbone>) -> Self {
        let current = Arc::new(Current::default());
        let of_query = Arc::clone(&current);
        let single = backbone.shared_reads(move |pool, ids| find(pool, Arc::clone(&of_query), ids));
        Self { backbone: Arc::clone(backbone), current, single }
    }

    /// The document of an order that is made; `None` when there is none.
    pub async fn get(&self, order_id: Uuid) -> Result<Option<View>, Fault> {
        self.single.get(order_id).await
    }

    /// A page of documents, the newest first.
    pub async fn list(&self, filter: &Filter, limit: i64, scan_max: i64) -> Result<Found, Fault> {
        for _ in 0..TRIES_MAX {
            let mut read = self.backbone.read().await?;
            let half = self.current.get();
            let found = persistence::list(&mut read, half, filter, limit, scan_max).await?;
            if self.current.is_still(&mut read, half).await? {
                return Ok(found);
            }
        }
        Err(changes_too_often())
    }
}

async fn find(pool: PgPool, current: Arc<Current>, ids: Vec<Uuid>) -> Result<Vec<(Uuid, View)>, Fault> {
    let mut connection = pool.acquire().await?;
    for _ in 0..TRIES_MAX {
        let half = current.get();
        let found = persistence::find(&mut connection, half, &ids).await?;
        if current.is_still(&mut connection, half).await? {
            return Ok(found);
        }
    }
    Err(changes_too_often())
}
