//! One message: claimed, attempted, recorded.

use std::time::{Duration, Instant};

use chrono::Utc;
use openorder_telemetry::{TraceContext, Traced, api::KeyValue, work_span};
use openorder_types::{Fault, Timestamp};

use crate::{
    application::deliver_span_name,
    delivery::{
        breaker::Gate,
        claim::{Claim, Claims, Token},
        provider::{Answer, Outage, Provider},
        worker::{Handled, Worker, after},
    },
    domain::{Command, Delivery, DeliveryOutcome},
    persistence::Due,
};

impl<P: Provider> Worker<P> {
    /// Claims it, sends it, and records how that ended.
    ///
    /// # Errors
    /// Redis is away.
    pub(super) async fn deliver(&self, one: &Due) -> Result<Handled, Fault> {
        let claim_began = Instant::now();
        let claim = self.claims.claim(one).await;
        let claim = claim.inspect_err(|fault| self.redis.down(fault))?;
        self.redis.ready();
        match claim {
            // Another worker is at it. Should it have died, the claim ends before the lease that we now hold does.
            Claim::Taken => Ok(Handled::Done),
            // The worker before us could not record it any more.
            Claim::Sent => {
                let parent = TraceContext::parse(&one.traceparent, None).unwrap_or_default();
                self.record(one, Utc::now(), DeliveryOutcome::Accepted, None, &parent).await;
                Ok(Handled::Done)
            }
            // Redis took so long to say so that the claim could end under our hands.
            Claim::Ours(token) if claim_began.elapsed() > Claims::MARGIN => {
                self.release(one, &token).await;
                Ok(Handled::Untried)
            }
            Claim::Ours(token) => {
                let work = self.traced(one);
                Ok(work.run(self.send(one, &token, &work)).await)
            }
        }
    }

    /// Sends what is claimed, and records how it ended before the claim is given back.
    async fn send(&self, one: &Due, token: &Token, work: &Traced) -> Handled {
        let (started_at, trace) = (Utc::now(), work.context().clone());
        if after(one.request_time, Duration::from_millis(self.settings.expire_after_ms)) < started_at {
            work.fail("EXPIRED", "the message waited for too long");
            let detail = "it waited to be sent for longer than notification.delivery.expire_after_ms".to_owned();
            let expired = DeliveryOutcome::Refused { reason: "EXPIRED", detail };
            self.record(one, started_at, expired, None, &trace).await;
            self.release(one, token).await;
            return Handled::Done;
        }
        let result = self.provider.send(one).await;
        self.measure(started_at, &result);
        let (outcome, retry_after) = match result {
            Err(outage) => {
                work.fail("outage", "the provider is away");
                self.provider_failed(&outage);
                self.release(one, token).await;
                return Handled::Waits(Utc::now());
            }
            // What fails while the provider is on probation is the provider's failure. Another message is next.
            Ok(Answer::Busy { detail, retry_after, .. }) if self.breaker.last_gate() != Gate::Closed => {
                work.fail("outage", "the provider is still failing");
                self.provider_failed(&Outage(detail));
                self.release(one, token).await;
                return Handled::Waits(self.retry_at(one, retry_after));
            }
            Ok(answer) => {
                self.record_answer(&answer);
                let retry_after = match &answer {
                    Answer::Busy { retry_after, .. } => *retry_after,
                    _ => None,
                };
                (answer.outcome(), retry_after)
            }
        };
        if let Err(fault) = openorder_faults::point(openorder_faults::NOTIFICATION_AFTER_SEND).await {
            // As if the process had died here: neither noted nor recorded, claim and lease end by themselves.
            tracing::warn!(notification_id = %one.notification_id, %fault, "an attempt is not recorded");
            return Handled::Done;
        }
        if outcome == DeliveryOutcome::Accepted {
            if let Err(fault) = self.claims.sent(one).await {
                tracing::warn!(%fault, "a sent message could not be noted in redis");
            }
            self.record(one, started_at, outcome, None, &trace).await;
        } else {
            work.fail(outcome.why().0, "the message was not taken");
            self.record(one, started_at, outcome, retry_after, &trace).await;
            self.release(one, token).await;
        }
        Handled::Done
    }

    fn measure(&self, started_at: Timestamp, result: &Result<Answer, Outage>) {
        let outcome = match result {
            Ok(Answer::Accepted) => "accepted",
            Ok(Answer::Busy { .. }) => "busy",
            Ok(Answer::Unknown { .. }) => "unknown",
            Ok(Answer::Refused { .. }) => "refused",
            Err(_) => "outage",
        };
        let took = Utc::now().signed_duration_since(started_at).to_std().unwrap_or_default();
        let channel = KeyValue::new("channel", self.provider.channel().as_str());
        self.durations.record(took.as_secs_f64(), &[channel, KeyValue::new("outcome", outcome)]);
    }

    fn record_answer(&self, answer: &Answer) {
        if answer.is_healthy() {
            self.breaker.succeeded();
            self.dependency.ready();
        } else {
            self.breaker.failed();
            if self.breaker.last_gate() == Gate::Open {
                self.dependency.down("its circuit breaker is open after failures in a row");
            }
        }
    }

    pub(super) fn provider_failed(&self, outage: &Outage) {
        self.breaker.failed();
        self.dependency.down(outage);
    }

    async fn record(
        &self,
        one: &Due,
        started_at: Timestamp,
        outcome: DeliveryOutcome,
        retry_after: Option<Duration>,
        trace: &TraceContext,
    ) {
        let delivery = Delivery {
            notification_id: one.notification_id,
            round: one.round,
            started_at,
            ended_at: Utc::now(),
            outcome,
            retry_at: self.retry_at(one, retry_after),
        };
        let command = Command::Delivered(Box::new(delivery));
        if let Err(error) = self.committer.submit(None, command, trace.clone(), None).await {
            // A sent one is found as sent when its lease has ended, any other one is tried again then.
            tracing::warn!(notification_id = %one.notification_id, %error, "an attempt could not be recorded");
        }
    }

    async fn release(&self, one: &Due, token: &Token) {
        if let Err(fault) = self.claims.release(one, token).await {
            tracing::debug!(%fault, "a claim could not be given back; it ends by itself");
        }
    }

    /// When it is to be tried again: exponential, with jitter in its upper half so that no wait is none, and not
    /// before the provider wants it.
    fn retry_at(&self, one: &Due, retry_after: Option<Duration>) -> Timestamp {
        let doublings = u32::try_from(one.round_attempts).unwrap_or(0).min(30);
        let base = Duration::from_millis(self.settings.retry_delay_base_ms);
        let ceiling = base.saturating_mul(1 << doublings).min(Duration::from_millis(self.settings.retry_delay_max_ms));
        let delay = ceiling.mul_f64(rand::random_range(0.5..=1.0));
        after(Utc::now(), retry_after.map_or(delay, |wanted| wanted.max(delay)))
    }

    /// The attempt, in the trace of the order.
    fn traced(&self, one: &Due) -> Traced {
        let span = work_span!(
            "deliver",
            otel.name = deliver_span_name(self.provider.channel()),
            otel.kind = "client",
            messaging.message.conversation_id = %one.order_id,
            openorder.notification.id = %one.notification_id,
            openorder.notification.kind = one.kind.as_str(),
            openorder.notification.transport = self.provider.transport(),
            openorder.notification.attempt = i64::from(one.round_attempts) + 1,
        );
        let parent = TraceContext::parse(&one.traceparent, None).unwrap_or_default();
        self.role.telemetry.trace(span, &parent)
    }
}
