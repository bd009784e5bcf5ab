//! Rankings are read in Redis and, where that is away or not whole, made of the sums in PostgreSQL.

use std::sync::Arc;

use chrono::{NaiveDate, Utc};
use futures::FutureExt;
use openorder_messaging::{Backbone, SharedReads};
use openorder_telemetry::{
    api::{Counter, KeyValue},
    meter,
};
use openorder_types::{Currency, Fault, Timestamp};

use crate::{
    config::AnalyticsSettings,
    domain::{ProductSales, Window},
    persistence,
    ranking::{Ranked, Reader},
};

/// Products of one answer at most.
pub(crate) const PRODUCTS_MAX: u32 = 100;

/// Which ranking: window, day and currency.
type Which = (Window, NaiveDate, Option<Currency>);
/// The best products, and as of when.
type Made = (Vec<ProductSales>, Timestamp);

/// Where a ranking was found, and what is in it.
pub(crate) enum Found {
    /// In Redis.
    Ready(Ranked),
    /// Made now, for all who asked for it at this time.
    Made { products: Vec<ProductSales>, as_of: Timestamp },
}

pub(crate) struct TopProducts {
    redis: Option<Reader>,
    /// As many queries as `database.shared_reads_max` at a time, each for all who ask meanwhile.
    made: SharedReads<Which, Made>,
    served: Counter<u64>,
}

impl TopProducts {
    pub(crate) fn new(backbone: &Arc<Backbone>, redis: Option<Reader>, settings: &AnalyticsSettings) -> Self {
        let of_query = Arc::clone(backbone);
        let made = SharedReads::new(&settings.database, move |keys: Vec<Which>| {
            let backbone = Arc::clone(&of_query);
            make(backbone, keys).boxed()
        });
        let served = meter()
            .u64_counter("openorder.analytics.rankings")
            .with_unit("{ranking}")
            .with_description("Rankings that were asked for, by where they were read")
            .build();
        Self { redis, made, served }
    }

    /// The best products of a window, at most `limit` and never more than [`PRODUCTS_MAX`].
    ///
    /// # Errors
    /// [`Fault`] of the database, where Redis has no whole ranking.
    pub(crate) async fn find(&self, window: Window, currency: Option<Currency>, limit: u32) -> Result<Found, Fault> {
        let today = Utc::now().date_naive();
        let limit = limit.min(PRODUCTS_MAX);
        if let Some(redis) = &self.redis
            && let Some(ranked) = redis.top(window, today, currency, limit).await
        {
            self.served.add(1, &[KeyValue::new("source", "redis")]);
            return Ok(Found::Ready(ranked));
        }
        let made = self.made.get((window, today, currency)).await?;
        self.served.add(1, &[KeyValue::new("source", "postgresql")]);
        let (mut products, as_of) = made.ok_or_else(|| Fault::retryable("the query gave no ranking"))?;
        products.truncate(limit as usize);
        Ok(Found::Made { products, as_of })
    }
}

/// Makes rankings one after the other, each statement within the time that lists have.
async fn make(backbone: Arc<Backbone>, which: Vec<Which>) -> Result<Vec<(Which, Made)>, Fault> {
    let mut made = Vec::with_capacity(which.len());
    for (window, today, currency) in which {
        let mut read = backbone.read().await?;
        let as_of: Timestamp = sqlx::query_scalar("select statement_timestamp()").fetch_one(&mut *read).await?;
        let limit = i64::from(PRODUCTS_MAX);
        let products = persistence::top_products(&mut read, window, today, currency, limit).await?;
        made.push(((window, today, currency), (products, as_of)));
    }
    Ok(made)
}
