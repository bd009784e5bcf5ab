//! What instances tell each other, so that they ask the databases before they work. Nothing is decided by it.
//!
//! - A request whose caller was not answered is the one that comes again. Where it may have been done before, its result is
//!   looked up, and no batch is made for it.
//! - A product that was sold out a moment ago may still be. Then it is looked at how much there is before an order is made
//!   that wants it at once.

use std::{sync::Arc, time::Duration};

use openorder_config::Secret;
use openorder_messaging::RequestKey;
use openorder_redis::{Connection, HintLimits, Hints};
use openorder_telemetry::{
    RoleTelemetry,
    api::{Counter, KeyValue},
    meter,
};
use uuid::Uuid;

use crate::config::HintSettings;

/// Bytes of a request's fingerprint that tell it from all others.
const NAME_BYTES: usize = 16;

/// Which kind of hint it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// The request was seen before.
    Request,
    /// The product was sold out.
    SoldOut,
}

pub(crate) struct OrderHints {
    requests: Hints,
    sold_out: Hints,
    followed: Counter<u64>,
}

impl OrderHints {
    /// The connection that hints are told by, which is opened when it is first used; none where each instance goes by
    /// what it has seen itself.
    ///
    /// # Errors
    /// A URL that is none.
    pub(crate) fn connection(
        settings: &HintSettings,
        url: &Secret,
        telemetry: &RoleTelemetry,
    ) -> anyhow::Result<Option<Arc<Connection>>> {
        if !settings.in_redis {
            return Ok(None);
        }
        let timeout = Duration::from_millis(settings.timeout_ms);
        Ok(Some(Arc::new(Connection::new(url, timeout, telemetry.clone())?)))
    }

    pub(crate) fn new(connection: Option<Arc<Connection>>, store_id: Uuid, settings: &HintSettings) -> Self {
        let limits = HintLimits {
            keep: Duration::from_millis(settings.keep_ms),
            interval: Duration::from_millis(settings.interval_ms),
            names_max: settings.names_max,
            told_max: settings.told_max,
        };
        let of = |kind: &str| Hints::new(connection.clone(), format!("openorder:order:{{{store_id}}}:{kind}"), limits);
        let followed = meter()
            .u64_counter("openorder.order.hints")
            .with_unit("{hint}")
            .with_description("Hints that were followed, by kind and by whether the database said the same")
            .build();
        Self { requests: of("requests"), sold_out: of("sold-out"), followed }
    }

    /// A request begins.
    pub(crate) fn begin(&self, key: &RequestKey) -> Unanswered<'_> {
        Unanswered { hints: self, name: Some(name(key)) }
    }

    /// Whether a request may have been done before.
    pub(crate) fn was_seen(&self, key: &RequestKey) -> bool {
        self.requests.has(&name(key))
    }

    /// Whether a product may be sold out.
    pub(crate) fn was_sold_out(&self, sku: &str) -> bool {
        self.sold_out.has(sku.as_bytes())
    }

    /// The inventory service has said that there is too little of one of the products of an order, or of this one.
    pub(crate) fn note_sold_out(&self, sku: &str) {
        self.sold_out.tell(sku.as_bytes());
    }

    /// The inventory service has said that there is enough of a product.
    pub(crate) fn note_in_stock(&self, sku: &str) {
        self.sold_out.forget(sku.as_bytes());
    }

    /// Counts a hint that was followed.
    pub(crate) fn followed(&self, hint: Hint, was_right: bool) {
        let hint = match hint {
            Hint::Request => "request",
            Hint::SoldOut => "sold_out",
        };
        let outcome = if was_right { "right" } else { "wrong" };
        self.followed.add(1, &[KeyValue::new("hint", hint), KeyValue::new("outcome", outcome)]);
    }
}

/// A request on its way. Where it ends without an answer, wherever that is, the instances are told that it may come again.
pub(crate) struct Unanswered<'a> {
    hints: &'a OrderHints,
    name: Option<[u8; NAME_BYTES]>,
}

impl Unanswered<'_> {
    /// It was done and is answered. When it comes again, it mostly comes here.
    pub(crate) fn answered(mut self) {
        if let Some(name) = self.name.take() {
            self.hints.requests.note(&name);
        }
    }

    /// Nothing was done.
    pub(crate) fn not_done(mut self) {
        self.name = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.hints.requests.tell(&name);
        }
    }
}

/// No two requests have one: the request id is a part of what it is made of. Of a request that is written another way the
/// hint is missed, and so it is of other content with the same id: the committer finds both.
fn name(key: &RequestKey) -> [u8; NAME_BYTES] {
    key.fingerprint.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints() -> OrderHints {
        OrderHints::new(None, Uuid::nil(), &HintSettings::default())
    }

    fn key(number: u8) -> RequestKey {
        RequestKey {
            caller: "ada".to_owned(),
            request_id: number.to_string(),
            method: "CreateOrder",
            fingerprint: [number; 32],
            fingerprint_as_sent: None,
            reply: None,
        }
    }

    #[test]
    fn a_request_may_come_again_that_was_answered_or_left_and_not_one_that_did_nothing() {
        let hints = hints();
        hints.begin(&key(1)).answered();
        drop(hints.begin(&key(2)));
        hints.begin(&key(3)).not_done();
        let seen = [1, 2, 3, 4].map(|number| hints.was_seen(&key(number)));
        assert_eq!(seen, [true, true, false, false]);
    }

    #[test]
    fn a_product_is_sold_out_until_it_is_not() {
        let hints = hints();
        assert!(!hints.was_sold_out("TEA"));
        hints.note_sold_out("TEA");
        assert!(hints.was_sold_out("TEA") && !hints.was_sold_out("CUP"));
        hints.note_in_stock("TEA");
        assert!(!hints.was_sold_out("TEA"));
    }
}
