//! Settings of the order service.

use std::time::Duration;

use openorder_config::{Secret, settings};
use openorder_service::service_settings;

use crate::saga::SagaSettings;

/// The steps that are optional: roles of services.
const PROMOTION: &str = "promotion";
const SHIPPING: &str = "shipping";

settings! {
    /// Hints: what an instance saw a moment ago and tells the others, so that they ask the databases before they work. They
    /// decide nothing.
    pub struct HintSettings {
        /// Whether instances tell each other, by Redis. If not, each goes by what it has seen itself.
        in_redis: bool = true;
        /// How often an instance and Redis tell each other at most, in milliseconds. No call waits for it.
        interval_ms: u64 = 100, 10..=60_000;
        /// How long a hint is followed at least, in milliseconds; twice that at most.
        keep_ms: u64 = 30_000, 100..=3_600_000;
        /// Hints of a kind that an instance keeps at most.
        names_max: usize = 100_000, 100..=10_000_000;
        /// Hints of a kind that Redis keeps at most.
        told_max: usize = 10_000, 10..=1_000_000;
        /// How long Redis may take to answer, in milliseconds; also how long it is left alone after it did not.
        timeout_ms: u64 = 1_000, 10..=60_000;
        /// How long the inventory service may take to say how much there is of a product that was sold out a moment ago, in
        /// milliseconds; then the order is made, and finds out.
        stock_timeout_ms: u64 = 250, 10..=60_000;
    }
}

service_settings! {
    /// Order service.
    pub struct OrderSettings(8101, "order", consumer, client) {
        /// How long a step of the saga (stock, payment) may stay unanswered before the order is compensated, in milliseconds; counted only while the way to the answering service and back is open.
        saga_step_timeout_ms: u64 = 120_000, 100..=86_400_000;
        /// From what age on a message that waits for the relay or a consumer shows that the way of an order is blocked: deadlines do not run then, in milliseconds.
        saga_route_behind_max_ms: u64 = 10_000, 100..=3_600_000;
        /// How often it is looked at whether the way of an order is blocked, in milliseconds.
        saga_route_interval_ms: u64 = 5_000, 10..=600_000;
        /// How long an order may take until it is paid, blocked or not, before it is cancelled, in milliseconds; 0 for no limit. An order that waits for a caller to pay it has `payment_deadline_ms` instead.
        completion_max_ms: u64 = 0, 0..=2_592_000_000;
        /// How long giving back may stay unanswered before it is asked for again, in milliseconds; doubled each time.
        saga_compensation_timeout_ms: u64 = 10_000, 100..=86_400_000;
        /// How long giving back may stay unanswered at most, however often that was doubled, in milliseconds.
        saga_compensation_timeout_max_ms: u64 = 600_000, 100..=86_400_000;
        /// How long an order in manual payment mode may wait for its payment once it is CONFIRMED, before it is cancelled, in milliseconds; counted only while the way from the payment service is open. 0: no order can be made in that mode.
        payment_deadline_ms: u64 = 900_000, 0..=2_592_000_000;
        /// How often giving back is asked for again before the saga shows as COMPENSATION_FAILED.
        saga_compensation_attempts_max: u32 = 10, 0..=100;
        /// Which optional steps orders have, of promotion (coupons) and shipping (shipments); one whose service is not deployed is left out, or orders wait for it.
        steps: Vec<String> = "promotion,shipping";
        /// How often due deadlines are looked for, in milliseconds.
        saga_timer_interval_ms: u64 = 500, 10..=60_000;
        /// Timers looked at together; a timer holds the orders of one batch.
        saga_timer_batch_max: i64 = 10, 1..=1_000;
        /// Orders whose passed deadlines are decided at a time.
        saga_checks_at_once_max: usize = 1_000, 1..=10_000;
        /// After how long a deadline that an instance took and did not look at is due again, in milliseconds.
        saga_timer_lease_ms: u64 = 30_000, 1_000..=600_000;
        /// Open sagas are counted once in so many looks at deadlines.
        saga_metrics_every_rounds: u64 = 120, 1..=100_000;
        /// How long CreateOrder waits for the stock and the coupon in immediate mode, in milliseconds.
        immediate_reservation_timeout_ms: u64 = 3_000, 10..=60_000;
        /// How long CancelOrder and UpdateOrderStatus wait for the shipping service about a parcel, in milliseconds.
        shipment_agreement_timeout_ms: u64 = 3_000, 10..=60_000;
        /// Age of the copy of the catalogue from which on the product service is asked for every order, in milliseconds. The copy ages while Kafka is away or the service's consumer is behind.
        catalogue_age_max_ms: u64 = 60_000, 100..=86_400_000;
        /// How often the age of the copy of the catalogue is looked at, in milliseconds.
        catalogue_check_interval_ms: u64 = 5_000, 10..=600_000;
        /// Orders that are looked at for one page of a list at most: a page of a filter that few of them fit may be short.
        list_scan_max: i64 = 10_000, 501..=10_000_000;
        /// Orders that may be watched at a time.
        watchers_max: usize = 1_000, 1..=1_000_000;
        /// How often a watched order is looked at when nothing was heard of it, in milliseconds.
        watch_poll_interval_ms: u64 = 1_000, 10..=60_000;
        /// What instances tell each other.
        hints: HintSettings;
        /// Redis, by which they do.
        redis_url: Secret = "redis://127.0.0.1:16379";
    }
    keeps {
        saga_compensation_timeout_ms <= saga_compensation_timeout_max_ms;
    }
}

impl OrderSettings {
    pub(crate) fn route_behind_max(&self) -> Duration {
        Duration::from_millis(self.saga_route_behind_max_ms)
    }

    /// Whether coupons can be used: there is a promotion service.
    pub(crate) fn has_coupons(&self) -> bool {
        self.has_step(PROMOTION)
    }

    /// Whether there is a shipping service.
    pub(crate) fn has_shipments(&self) -> bool {
        self.has_step(SHIPPING)
    }

    /// Whether orders can be made that a caller pays.
    pub(crate) fn has_manual_payment(&self) -> bool {
        self.payment_deadline_ms > 0
    }

    fn has_step(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step == name)
    }

    /// # Errors
    /// When `steps` names one that there is not.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match self.steps.iter().find(|step| ![PROMOTION, SHIPPING].contains(&step.as_str())) {
            Some(other) => anyhow::bail!("order.steps: there is no step {other:?}; {PROMOTION} and {SHIPPING} are"),
            None => Ok(()),
        }
    }

    pub(crate) fn saga_settings(&self) -> SagaSettings {
        SagaSettings {
            ships: self.has_shipments(),
            step: Duration::from_millis(self.saga_step_timeout_ms),
            payment_window: Duration::from_millis(self.payment_deadline_ms),
            completion: (self.completion_max_ms > 0).then(|| Duration::from_millis(self.completion_max_ms)),
            compensation: Duration::from_millis(self.saga_compensation_timeout_ms),
            compensation_max: Duration::from_millis(self.saga_compensation_timeout_max_ms),
            compensation_attempts_max: self.saga_compensation_attempts_max,
        }
    }
}
