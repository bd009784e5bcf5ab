//! What an order is of, and what there is of it.

use std::collections::HashMap;

use openorder_order::domain::{CatalogItem, NewOrder, PaymentMode, ProductAnswers, RequestedLine, ReservationMode};
use openorder_types::{Quantity, Sku, UserId};
use uuid::Uuid;

use crate::{
    euros,
    participants::{DISCOUNT, PIECES, PRICE},
};

/// The coupon of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coupon {
    None,
    /// It takes something off.
    Part,
    /// It leaves nothing to pay.
    Whole,
    /// It cannot be used.
    Bad,
}

impl Coupon {
    pub const ALL: [Self; 4] = [Self::None, Self::Part, Self::Whole, Self::Bad];

    pub fn discount(self) -> Option<i64> {
        match self {
            Self::None | Self::Bad => None,
            Self::Part => Some(DISCOUNT),
            Self::Whole => Some(PRICE),
        }
    }

    /// What the order costs with it.
    pub fn price(self) -> i64 {
        PRICE - self.discount().unwrap_or(0)
    }
}

/// What an order is of, and what there is of it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Whether the product service has what is ordered.
    pub is_product_known: bool,
    pub has_stock: bool,
    pub has_money: bool,
    pub coupon: Coupon,
    /// Whether there is a shipping service.
    pub ships: bool,
    /// Who pays.
    pub payer: Payer,
}

/// Who starts the payment of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// The saga.
    Saga,
    /// Its customer, as soon as the order waits for that.
    Customer,
    /// Its customer, who has not begun to.
    Nobody,
}

impl Payer {
    pub const ALL: [Self; 3] = [Self::Saga, Self::Customer, Self::Nobody];
}

impl Case {
    /// Everything is there.
    pub const GOOD: Self = Self {
        is_product_known: true,
        has_stock: true,
        has_money: true,
        coupon: Coupon::None,
        ships: false,
        payer: Payer::Saga,
    };
}

pub fn sku() -> Sku {
    Sku::parse("TEA").unwrap()
}

pub fn catalogue() -> HashMap<Sku, CatalogItem> {
    let item = CatalogItem {
        sku: sku(),
        product_id: Uuid::from_u128(2),
        product_version: 1,
        product_number: 1,
        display_name: "Tea".to_owned(),
        unit_price: euros(PRICE / PIECES),
        deleted: false,
    };
    HashMap::from([(sku(), item)])
}

pub fn line(pieces: i64) -> RequestedLine {
    RequestedLine { sku: sku(), quantity: Quantity::parse(pieces).unwrap() }
}

pub fn new_order(case: Case) -> NewOrder {
    NewOrder {
        order_id: Uuid::from_u128(1),
        customer_id: UserId::parse("ada").unwrap(),
        customer_email: None,
        lines: vec![line(PIECES)],
        reservation_mode: ReservationMode::Deferred,
        payment_mode: if case.payer == Payer::Saga { PaymentMode::Automatic } else { PaymentMode::Manual },
        expected_total: Some(euros(PRICE)),
        issued_coupon_id: (case.coupon != Coupon::None).then(|| Uuid::from_u128(7)),
        shipping_address: None,
        checkout_id: None,
        product_answers: ProductAnswers::from([(sku(), case.is_product_known)]),
    }
}
