//! Other lines for an order that exists: what became of the last ones that were asked for, and when they may be.

use openorder_types::{Money, Rejection, numbered};

use crate::{
    domain::{
        Context, Event, ModifyRequest, Order, OrderEvent, OrderLine, OrderStatus, State, check_prices, decide::advance,
        price, rejection,
    },
    saga::{Signal, Step},
};

numbered! {
    /// What became of a modification; numbered as `openorder.order.v1.OrderModificationState`.
    pub enum ModificationState {
        /// The order has its lines of before.
        Requested = 1 "REQUESTED",
        /// The order has the lines that were asked for.
        Accepted = 2 "ACCEPTED",
        /// The order has kept its lines of before.
        Rejected = 3 "REJECTED",
    }
}

/// The last change of an order's lines that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modification {
    pub state: ModificationState,
    /// Version of the order that the request made.
    pub order_version: i64,
    /// What was asked for; empty once it is the order's.
    pub lines: Vec<OrderLine>,
    /// What these lines cost together; none once they are the order's.
    pub total: Option<Money>,
    /// Why it is rejected; else empty.
    pub reason: String,
    /// The same for people.
    pub detail: String,
}

impl Modification {
    pub(super) fn requested(order_version: i64, lines: &[OrderLine], total: Money) -> Self {
        let (state, lines, total) = (ModificationState::Requested, lines.to_vec(), Some(total));
        Self { state, order_version, lines, total, reason: String::new(), detail: String::new() }
    }

    /// Whether it is not decided.
    pub fn is_under_way(&self) -> bool {
        self.state == ModificationState::Requested
    }
}

impl Order {
    /// Its lines are those that were asked for.
    pub(super) fn take_over_modification(&mut self) {
        if let Some(modification) = self.modification.as_deref_mut().filter(|one| one.is_under_way()) {
            self.lines = std::mem::take(&mut modification.lines);
            self.total = modification.total.take();
            modification.state = ModificationState::Accepted;
        }
    }

    /// Its lines stay, if others were asked for.
    pub(super) fn reject_modification(&mut self, reason: &str, detail: &str) {
        if let Some(modification) = self.modification.as_deref_mut().filter(|one| one.is_under_way()) {
            modification.state = ModificationState::Rejected;
            reason.clone_into(&mut modification.reason);
            detail.clone_into(&mut modification.detail);
        }
    }
}

/// Decides on other lines for an order. Whether there is stock for them is not known yet.
///
/// # Errors
/// `ORDER_NOT_FOUND`, `ORDER_NOT_MODIFIABLE`, `MODIFICATION_UNDER_WAY`, `ORDER_HAS_COUPON`, `ORDER_VERSION_MISMATCH`,
/// `UNKNOWN_SKU`, `CURRENCY_MISMATCH`, `TOTAL_TOO_LARGE`, `PRICE_CHANGED`; `CATALOGUE_IN_DOUBT`, which no caller sees.
pub(super) fn decide(state: State<'_>, wanted: &ModifyRequest, context: &Context<'_>) -> Result<Vec<Event>, Rejection> {
    check(state, wanted)?;
    let order = state.order;
    let priced = price(&wanted.lines, context.catalogue, &wanted.product_answers)?;
    check_prices(wanted.expected_total, &wanted.product_answers, &priced)?;
    // The product service was asked about what the copy does not have.
    let total = priced.total.ok_or_else(|| rejection::unknown_sku(order.order_id))?;
    let asked = Signal::ModificationRequested { order_version: order.version + 1 };
    let follow = advance(state.saga, &asked, context).ok_or_else(|| not_modifiable(order))?;
    let mut events = vec![Event::Order(OrderEvent::ModificationRequested { lines: priced.lines, total })];
    events.extend(follow);
    Ok(events)
}

/// Whether the order stands where its lines may be changed, and where the caller believes it to.
fn check(state: State<'_>, wanted: &ModifyRequest) -> Result<(), Rejection> {
    let order = state.order;
    if wanted.owner.as_ref().is_some_and(|owner| order.customer_id != *owner) {
        return Err(rejection::order_not_found(order.order_id));
    }
    let may_be = match (order.status, state.saga.step) {
        (OrderStatus::Pending | OrderStatus::Confirmed, Step::Modifying) => {
            return Err(rejection::modification_under_way(order.order_id));
        }
        (OrderStatus::Pending, Step::Reserving) => true,
        // By itself an order is paid at once: a payment is under way.
        (OrderStatus::Confirmed, Step::Paying) => order.payment_window.is_some(),
        _ => false,
    };
    if !may_be {
        return Err(not_modifiable(order));
    }
    if order.issued_coupon_id.is_some() {
        return Err(rejection::order_has_coupon(order.order_id));
    }
    if order.version != wanted.expected_version {
        return Err(rejection::order_version_mismatch(order.order_id, wanted.expected_version, order.version));
    }
    Ok(())
}

fn not_modifiable(order: &Order) -> Rejection {
    rejection::not_modifiable(order.order_id, order.status)
}

#[cfg(test)]
mod tests;
