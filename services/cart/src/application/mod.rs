//! The use cases.
//!
//! - `carts.rs`: a cart is changed in Redis: read, decided, written by compare and set;
//! - `prices.rs`: what the product service says of products now;
//! - this file: checkouts in PostgreSQL. What is ordered stands there before the order is asked for, and what was ordered
//!   leaves the cart before it is noted there that it did: once, however often either is tried. So does what comes back
//!   of an order that is rejected.

mod carts;
mod prices;
mod reply;

use std::sync::Arc;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_proto::order::v1::{CreateOrderRequest, RequestedLine};
use openorder_types::{Fault, Sku, UserId};
use sqlx::PgPool;
use uuid::Uuid;

pub(crate) use carts::{Carts, Request, check_version};
pub(crate) use prices::{Prices, Product, Read};
pub use reply::CartReply;

use crate::{
    domain::{Checkout, Command, Ordered, Rejected},
    persistence,
};

pub struct Checkouts {
    pool: PgPool,
    carts: Arc<Carts>,
}

impl Checkouts {
    pub(crate) fn new(pool: PgPool, carts: Arc<Carts>) -> Self {
        Self { pool, carts }
    }
}

impl Checkouts {
    /// The checkouts of orders that are rejected, each with its order, whose lines are not back yet.
    async fn ended(&self, rejected: &[&Rejected]) -> Result<Vec<(Uuid, Checkout)>, Fault> {
        if rejected.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = rejected.iter().map(|one| one.order_id).collect();
        persistence::taken_checkouts(&self.pool, &ids).await
    }

    /// Takes what was ordered out of its carts. The checkouts, each with its order.
    async fn take_out(&self, ordered: &[&Ordered]) -> Result<Vec<(Uuid, Checkout)>, Fault> {
        if ordered.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = ordered.iter().map(|one| one.checkout_id).collect();
        let open = persistence::open_checkouts(&self.pool, &ids).await?;
        let mut taken = Vec::with_capacity(ordered.len());
        for one in ordered {
            // Whoever orders may name any checkout; only its own is one.
            let is_its = |checkout: &&Checkout| {
                checkout.checkout_id == one.checkout_id && checkout.customer_id == one.customer_id
            };
            if let Some(checkout) = open.iter().find(is_its) {
                self.carts.take_out(checkout, one).await?;
                taken.push((one.order_id, checkout.clone()));
            }
        }
        Ok(taken)
    }
}

impl Application for Checkouts {
    type Command = Command;
    type Reply = CartReply;

    /// What was ordered leaves its cart, and comes back where the order is rejected. Redis and PostgreSQL do not commit together: Redis remembers by the checkout's id
    /// what has left, for as long as the checkout's row is kept, so that a batch that comes again takes nothing more; and a
    /// row that says that it was done is not looked at again.
    ///
    /// Before the transaction: no row is locked while Redis is waited for.
    async fn prepare(&self, commands: &[&Command]) -> Result<(), Fault> {
        let made: Vec<&Ordered> = commands.iter().filter_map(|command| ordered(command)).collect();
        let in_vain: Vec<&Rejected> = commands.iter().filter_map(|command| rejected(command)).collect();
        // An order is made before it is rejected, and both may be in one batch.
        let mut ended = self.ended(&in_vain).await?;
        ended.extend(self.take_out(&made).await?);
        for one in in_vain {
            let is_its = |(order_id, checkout): &&(Uuid, Checkout)| {
                *order_id == one.order_id && checkout.customer_id == one.customer_id
            };
            if let Some((_, checkout)) = ended.iter().find(is_its) {
                self.carts.put_back(checkout, one).await?;
            }
        }
        // Last: nothing comes back into the cart of who is nobody.
        for customer_id in commands.iter().filter_map(|command| forgotten(command)) {
            self.carts.forget(customer_id).await?;
        }
        Ok(())
    }

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<CartReply>, Fault> {
        let now = unit.now();
        let commands = || batch.iter().map(|envelope| envelope.command);
        let begun: Vec<&Checkout> = commands().filter_map(begun).collect();
        persistence::add_checkouts(unit.connection(), &begun, now).await?;
        let ordered: Vec<&Ordered> = commands().filter_map(ordered).collect();
        persistence::note_ordered(unit.connection(), &ordered, now).await?;
        let rejected: Vec<Uuid> = commands().filter_map(rejected).map(|rejected| rejected.order_id).collect();
        persistence::note_put_back(unit.connection(), &rejected, now).await?;
        Ok(commands().map(|command| Ok(reply(command))).collect())
    }
}

fn begun(command: &Command) -> Option<&Checkout> {
    match command {
        Command::Begin { checkout, .. } => Some(checkout),
        Command::Ordered(_) | Command::Rejected(_) | Command::Forget(_) => None,
    }
}

fn ordered(command: &Command) -> Option<&Ordered> {
    match command {
        Command::Ordered(ordered) => Some(ordered),
        Command::Begin { .. } | Command::Rejected(_) | Command::Forget(_) => None,
    }
}

fn rejected(command: &Command) -> Option<&Rejected> {
    match command {
        Command::Rejected(rejected) => Some(rejected),
        Command::Begin { .. } | Command::Ordered(_) | Command::Forget(_) => None,
    }
}

fn forgotten(command: &Command) -> Option<&UserId> {
    match command {
        Command::Forget(customer_id) => Some(customer_id),
        Command::Begin { .. } | Command::Ordered(_) | Command::Rejected(_) => None,
    }
}

fn reply(command: &Command) -> CartReply {
    match command {
        Command::Begin { checkout, lines } => CartReply::Fixed(fixed(checkout, lines)),
        Command::Ordered(_) | Command::Rejected(_) | Command::Forget(_) => CartReply::Noted,
    }
}

/// What of an order does not change when it is asked for again.
fn fixed(checkout: &Checkout, lines: &[(Sku, i64)]) -> CreateOrderRequest {
    let line = |(sku, quantity): &(Sku, i64)| RequestedLine {
        sku: sku.to_string(),
        quantity: i32::try_from(*quantity).unwrap_or(i32::MAX),
    };
    CreateOrderRequest {
        customer_id: checkout.customer_id.to_string(),
        checkout_id: checkout.checkout_id.to_string(),
        lines: lines.iter().map(line).collect(),
        ..CreateOrderRequest::default()
    }
}
