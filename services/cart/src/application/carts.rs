//! Changes of carts: read, decided, written if nobody was faster; otherwise all of it again.

use std::{sync::Arc, time::Duration};

use chrono::{SubsecRound, Utc};
use openorder_telemetry::{TraceContext, api::Counter, meter};
use openorder_types::{CallError, Fault, Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    config::CartSettings,
    domain::{self, Cart, Change, Checkout, Context, Limits, Ordered, Owner, Rejected},
    store::{Proof, Saved, Store, Write},
};

/// Longest pause before a change is tried again that another one came before.
const CONFLICT_PAUSE_MAX_MS: u64 = 32;

/// What a caller has said of a change besides its content.
#[derive(Debug)]
pub(crate) struct Request {
    /// Who calls.
    pub(crate) caller: String,
    pub(crate) request_id: String,
    /// Of the method and the content.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) trace: TraceContext,
}

/// How a change ended.
enum Ended {
    /// The carts as they stand by it, or as they stand though it was done before.
    Done(Vec<Option<Cart>>),
    /// The same proof, of something else.
    Reused,
    Busy,
}

pub(crate) struct Carts {
    store: Arc<Store>,
    limits: Limits,
    attempts_max: u32,
    request_keep_ms: u64,
    checkout_keep_ms: u64,
    conflicts: Counter<u64>,
}

impl Carts {
    pub(crate) fn new(store: Arc<Store>, settings: &CartSettings) -> Self {
        let conflicts = meter()
            .u64_counter("openorder.cart.conflicts")
            .with_unit("{attempt}")
            .with_description("Changes of carts that were tried again because another one came before")
            .build();
        Self {
            store,
            limits: Limits { lines_max: settings.lines_max, quantity_max: settings.quantity_max },
            attempts_max: settings.conflict_attempts_max,
            request_keep_ms: settings.request_keep_ms,
            checkout_keep_ms: settings.checkout_keep_ms,
            conflicts,
        }
    }

    /// The cart of an owner, which is kept for longer by that.
    ///
    /// # Errors
    /// `Unavailable` while Redis is away.
    pub(crate) async fn read(&self, owner: &Owner, trace: &TraceContext) -> Result<Option<Cart>, CallError> {
        Ok(self.store.read(owner, trace).await?)
    }

    /// When a cart ends that is looked at or changed now.
    pub(crate) fn expires(&self, owner: &Owner) -> Timestamp {
        now() + Duration::from_millis(self.store.lives().of(owner))
    }

    /// Changes a cart, and gives it as it stands then. A request that was carried out before changes nothing.
    ///
    /// # Errors
    /// What the rules say; `CART_VERSION_MISMATCH`, `CART_BUSY`, `REQUEST_ID_REUSED`; `Unavailable` while Redis is away:
    /// the same request may be made again.
    pub(crate) async fn change(
        &self,
        request: &Request,
        owner: &Owner,
        expected_version: Option<i64>,
        decide: impl Fn(&Context) -> Result<Change, Rejection> + Send + Sync,
    ) -> Result<Option<Cart>, CallError> {
        let decide = |carts: &[Option<Cart>], context: &Context| {
            let cart = carts.first().and_then(Option::as_ref);
            check_version(cart, expected_version)?;
            Ok(vec![domain::change(cart, &decide(context)?, context)?])
        };
        let mut carts = self.carry_out(request, owner, &[owner], decide).await?;
        Ok(carts.pop().flatten())
    }

    /// Takes over into the customer's cart what the visitor's has, and gives the customer's as it stands then.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub(crate) async fn merge(
        &self,
        request: &Request,
        customer: &Owner,
        visitor: &Owner,
    ) -> Result<Option<Cart>, CallError> {
        let decide = |carts: &[Option<Cart>], context: &Context| {
            let [target, source] = carts else { return Ok(Vec::new()) };
            Ok(match domain::merge(target.as_ref(), source.as_ref(), context)? {
                Some((merged, emptied)) => vec![Some(merged), Some(emptied)],
                None => vec![None, None],
            })
        };
        let carts = self.carry_out(request, customer, &[customer, visitor], decide).await?;
        Ok(carts.into_iter().next().flatten())
    }

    /// Takes what was ordered out of its cart, unless that was done.
    ///
    /// # Errors
    /// An outage of Redis; retryable, while others change the cart all the time.
    pub(crate) async fn take_out(&self, checkout: &Checkout, ordered: &Ordered) -> Result<(), Fault> {
        let key = self.store.keys().taken(&checkout.customer_id, checkout.checkout_id);
        self.change_once(checkout, key, ordered.order_id, |cart, context| {
            cart.and_then(|cart| domain::take(cart, checkout, &ordered.lines, context))
        })
        .await
    }

    /// Puts back what was ordered by a checkout whose order is rejected, unless that was done.
    ///
    /// # Errors
    /// As [`Self::take_out`].
    pub(crate) async fn put_back(&self, checkout: &Checkout, rejected: &Rejected) -> Result<(), Fault> {
        let key = self.store.keys().put_back(&checkout.customer_id, checkout.checkout_id);
        self.change_once(checkout, key, rejected.order_id, |cart, context| {
            domain::put_back(cart, &rejected.lines, context)
        })
        .await
    }

    /// Forgets the cart of a customer who is nobody any more.
    ///
    /// # Errors
    /// An outage of Redis.
    pub(crate) async fn forget(&self, customer_id: &UserId) -> Result<(), Fault> {
        self.store.delete(&Owner::Customer(customer_id.clone()), &TraceContext::NONE).await
    }

    /// Changes the cart of a checkout by what became of its order, unless that was done.
    async fn change_once(
        &self,
        checkout: &Checkout,
        key: String,
        order_id: Uuid,
        decide: impl Fn(Option<&Cart>, &Context) -> Option<Cart> + Send + Sync,
    ) -> Result<(), Fault> {
        let owner = Owner::Customer(checkout.customer_id.clone());
        let proof = Proof { key, value: order_id.to_string().into_bytes(), keep_ms: self.checkout_keep_ms };
        let decide = |carts: &[Option<Cart>], context: &Context| {
            Ok(vec![decide(carts.first().and_then(Option::as_ref), context)])
        };
        match self.attempt_all(&proof, &[&owner], decide, &TraceContext::NONE).await? {
            // Of another order by the same checkout nothing is done either.
            Ok(Ended::Done(_) | Ended::Reused) => Ok(()),
            Ok(Ended::Busy) => Err(Fault::retryable("others change the cart all the time").because("CART_BUSY")),
            Err(rejection) => Err(Fault::permanent(rejection)),
        }
    }

    async fn carry_out(
        &self,
        request: &Request,
        owner: &Owner,
        owners: &[&Owner],
        decide: impl Fn(&[Option<Cart>], &Context) -> Result<Vec<Option<Cart>>, Rejection> + Send + Sync,
    ) -> Result<Vec<Option<Cart>>, CallError> {
        let proof = Proof {
            key: self.store.keys().request(owner, &request.caller, &request.request_id),
            value: request.fingerprint.to_vec(),
            keep_ms: self.request_keep_ms,
        };
        match self.attempt_all(&proof, owners, decide, &request.trace).await?? {
            Ended::Done(carts) => Ok(carts),
            Ended::Reused => Err(domain::request_id_reused(&request.request_id).into()),
            Ended::Busy => Err(domain::busy().into()),
        }
    }

    /// Reads, decides and writes, until nobody comes in between.
    async fn attempt_all(
        &self,
        proof: &Proof,
        owners: &[&Owner],
        decide: impl Fn(&[Option<Cart>], &Context) -> Result<Vec<Option<Cart>>, Rejection> + Send + Sync,
        trace: &TraceContext,
    ) -> Result<Result<Ended, Rejection>, Fault> {
        for attempt in 0..self.attempts_max {
            if attempt > 0 {
                self.conflicts.add(1, &[]);
                pause(attempt).await;
            }
            let (before, known) = self.store.load(owners, proof, trace).await?;
            if let Some(known) = known {
                return Ok(Ok(if known == proof.value { Ended::Done(before) } else { Ended::Reused }));
            }
            let context = Context { cart_id: Uuid::now_v7(), now: now(), limits: self.limits };
            let after = match decide(&before, &context) {
                Ok(after) => after,
                Err(rejection) => return Ok(Err(rejection)),
            };
            // Also when it says that it was done meanwhile: by the same request, or by one that has its id.
            if self.write(proof, owners, &before, &after, trace).await? == Saved::Done {
                let carts = before.into_iter().zip(after).map(|(before, after)| after.or(before));
                return Ok(Ok(Ended::Done(carts.collect())));
            }
        }
        Ok(Ok(Ended::Busy))
    }

    /// Writes the carts that changed, and the proof.
    async fn write(
        &self,
        proof: &Proof,
        owners: &[&Owner],
        before: &[Option<Cart>],
        after: &[Option<Cart>],
        trace: &TraceContext,
    ) -> Result<Saved, Fault> {
        let all = owners.iter().zip(before.iter().zip(after));
        let changed = all.filter_map(|(owner, (before, after))| {
            Some(Write { owner, before: before.as_ref(), after: after.as_ref()? })
        });
        self.store.save(proof, &changed.collect::<Vec<_>>(), trace).await
    }
}

/// Whether a cart has the version that its caller expects; none has version 0.
///
/// # Errors
/// `CART_VERSION_MISMATCH`.
pub(crate) fn check_version(cart: Option<&Cart>, expected: Option<i64>) -> Result<(), Rejection> {
    let version = cart.map_or(0, |cart| cart.version);
    match expected {
        Some(expected) if expected != version => Err(domain::version_mismatch(version)),
        _ => Ok(()),
    }
}

/// In the milliseconds that are kept: what is answered is what is read later.
fn now() -> Timestamp {
    Utc::now().trunc_subsecs(3)
}

/// Longer from attempt to attempt, and never in step with others.
async fn pause(attempt: u32) {
    let longest = (1_u64 << attempt.min(5)).min(CONFLICT_PAUSE_MAX_MS) * 1_000;
    tokio::time::sleep(Duration::from_micros(rand::random_range(0..=longest))).await;
}
