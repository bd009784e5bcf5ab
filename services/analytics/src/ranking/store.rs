//! Rankings in Redis: their keys, and the scripts that read and write them. Each script is one step for everybody else.

use chrono::NaiveDate;
use openorder_redis::Connection;
use openorder_telemetry::TraceContext;
use openorder_types::{Currency, Fault, Timestamp};
use prost::Message;
use redis::{Script, ScriptInvocation};
use uuid::Uuid;

use crate::{
    domain::{ProductSales, Window},
    persistence::Turn,
    present,
};

/// The order of products by pieces in all currencies.
const ALL_CURRENCIES: &str = "*";

macro_rules! writing {
    ($file:literal) => {
        Script::new(concat!(include_str!("scripts/shared.lua"), "\n", include_str!($file)))
    };
}

/// The names of a deployment's rankings. What stands in braces has a cluster keep all of them on one server.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(ranking_id: Uuid) -> Self {
        Self { prefix: format!("openorder:analytics:{{{ranking_id}}}") }
    }

    fn ranking(&self, window: Window, today: NaiveDate) -> String {
        format!("{}:{}", self.prefix, window.name(today))
    }

    /// Where a ranking stands while it is filled.
    fn filling(&self, window: Window, today: NaiveDate) -> String {
        format!("{}:filling", self.ranking(window, today))
    }

    fn fence(&self) -> String {
        format!("{}:fence", self.prefix)
    }
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Done,
    /// There is no such ranking, or not all of it.
    NotWhole,
    /// Another instance has its turn.
    Refused,
}

/// Where products are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where they are read.
    Ranking,
    /// Beside it.
    Filling,
}

/// The writer's end.
pub(super) struct Store {
    connection: Connection,
    keys: Keys,
    keep_ms: u64,
    look: Script,
    begin: Script,
    write: Script,
    put: Script,
    date: Script,
}

impl Store {
    pub(super) fn new(connection: Connection, keys: Keys, keep_ms: u64) -> Self {
        Self {
            connection,
            keys,
            keep_ms,
            look: writing!("scripts/look.lua"),
            begin: writing!("scripts/begin.lua"),
            write: writing!("scripts/write.lua"),
            put: writing!("scripts/put.lua"),
            date: writing!("scripts/date.lua"),
        }
    }

    /// Whether anybody answers; then it is asked again.
    pub(super) async fn ping(&self) -> Result<(), Fault> {
        self.connection.ping().await
    }

    /// Whether the ranking of a window is whole, and of the turn's epoch; then it stays for longer.
    pub(super) async fn look(&self, turn: &Turn, window: Window) -> Result<Step, Fault> {
        self.step(self.call(&self.look, &self.keys.ranking(window, turn.today), turn)).await
    }

    /// Begins to fill the ranking of a window anew, beside the one that there may be.
    pub(super) async fn begin(&self, turn: &Turn, window: Window) -> Result<Step, Fault> {
        self.step(self.call(&self.begin, &self.keys.filling(window, turn.today), turn)).await
    }

    /// Writes products as they stand in a window now.
    pub(super) async fn write(
        &self,
        turn: &Turn,
        place: Place,
        window: Window,
        products: &[&ProductSales],
    ) -> Result<Step, Fault> {
        let key = match place {
            Place::Ranking => self.keys.ranking(window, turn.today),
            Place::Filling => self.keys.filling(window, turn.today),
        };
        let mut call = self.call(&self.write, &key, turn);
        let mut currencies: Vec<Currency> =
            products.iter().flat_map(|product| product.by_currency.keys().copied()).collect();
        currencies.sort_unstable();
        currencies.dedup();
        call.arg(currencies.len() + 1).arg(ALL_CURRENCIES);
        for currency in &currencies {
            call.arg(currency.as_str());
        }
        for product in products {
            let of_all = place_of(product.quantity(None));
            let of_each: Vec<String> =
                currencies.iter().map(|currency| place_of(product.quantity(Some(*currency)))).collect();
            let is_ranked = !of_all.is_empty() || of_each.iter().any(|place| !place.is_empty());
            let bytes = if is_ranked { present::product(product).encode_to_vec() } else { Vec::new() };
            call.arg(product.sku.as_str()).arg(bytes).arg(of_all).arg(of_each);
        }
        self.step(call).await
    }

    /// Puts the ranking that was filled in its place, as of a time.
    pub(super) async fn put(&self, turn: &Turn, window: Window, as_of: Timestamp) -> Result<Step, Fault> {
        let mut call = self.call(&self.put, &self.keys.filling(window, turn.today), turn);
        call.key(self.keys.ranking(window, turn.today)).arg(as_of.timestamp_millis());
        self.step(call).await
    }

    /// All that was counted by a time is in the ranking of a window.
    pub(super) async fn date(&self, turn: &Turn, window: Window, as_of: Timestamp) -> Result<Step, Fault> {
        let mut call = self.call(&self.date, &self.keys.ranking(window, turn.today), turn);
        call.arg(as_of.timestamp_millis());
        self.step(call).await
    }

    fn call<'a>(&self, script: &'a Script, key: &str, turn: &Turn) -> ScriptInvocation<'a> {
        let mut call = script.key(key);
        call.key(self.keys.fence()).arg(turn.fence).arg(self.keep_ms).arg(turn.epoch);
        call
    }

    async fn step(&self, call: ScriptInvocation<'_>) -> Result<Step, Fault> {
        let answer: i64 = self.connection.invoke("write ranking", &call, &TraceContext::NONE).await?;
        Ok(match answer {
            1 => Step::Done,
            0 => Step::NotWhole,
            _ => Step::Refused,
        })
    }
}

/// What a product is ordered by; nothing where nothing of it was sold.
fn place_of(quantity: i64) -> String {
    if quantity > 0 { quantity.to_string() } else { String::new() }
}

/// The readers' end.
pub(super) struct Top {
    connection: Connection,
    keys: Keys,
    script: Script,
}

impl Top {
    pub(super) fn new(connection: Connection, keys: Keys) -> Self {
        Self { connection, keys, script: Script::new(include_str!("scripts/top.lua")) }
    }

    /// As of when the ranking is, in milliseconds, then pieces and product for each of the first `limit`; none where there
    /// is no whole one.
    ///
    /// # Errors
    /// An outage of Redis.
    pub(super) async fn read(
        &self,
        window: Window,
        today: NaiveDate,
        currency: Option<Currency>,
        limit: u32,
    ) -> Result<Option<Vec<Vec<u8>>>, Fault> {
        let order = currency.as_ref().map_or(ALL_CURRENCIES, Currency::as_str);
        let mut call = self.script.key(self.keys.ranking(window, today));
        call.arg(order).arg(limit);
        self.connection.invoke("read ranking", &call, &TraceContext::NONE).await
    }
}
