//! Stock, payment, coupon and parcel as they promise to behave: a request is answered once it is handled, one decision for ever, and
//! asking twice changes and publishes nothing, unless an operator asks.

use openorder_order::{
    domain::{CancellationCause, ShipmentFact},
    saga::Signal,
};

use crate::{euros, out_of_stock, paid, refused};

/// Pieces in the warehouse, and money in the wallet, to begin with.
pub const STOCK: i64 = 10;
pub const MONEY: i64 = 100;
/// Pieces and price of the order.
pub const PIECES: i64 = 3;
pub const PRICE: i64 = 60;
/// What a coupon takes off that does not take off everything.
pub const DISCOUNT: i64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    Held,
    Shipped,
    Released,
    Rejected,
}

/// The stock of one SKU, and the reservation of one order.
#[derive(Debug)]
pub struct Inventory {
    pub on_hand: i64,
    pub reserved: i64,
    pub reservation: Option<Reservation>,
    pub events: i64,
    /// Pieces of the reservation.
    held: i64,
    /// Version of the order that last asked for others; 0: none did.
    modified: i64,
}

impl Inventory {
    pub fn new(has_stock: bool) -> Self {
        let on_hand = if has_stock { STOCK } else { PIECES - 1 };
        Self { on_hand, reserved: 0, reservation: None, events: 0, held: PIECES, modified: 0 }
    }

    pub fn reserve(&mut self) -> Vec<Signal> {
        if self.reservation.is_some() {
            return Vec::new();
        }
        self.events += 1;
        if self.on_hand - self.reserved < PIECES {
            self.reservation = Some(Reservation::Rejected);
            return vec![out_of_stock()];
        }
        self.reserved += PIECES;
        self.reservation = Some(Reservation::Held);
        vec![Signal::StockReserved]
    }

    /// Other pieces are held in place of those before, or nothing changes.
    pub fn modify(&mut self, order_version: i64, pieces: i64) -> Vec<Signal> {
        if self.reservation != Some(Reservation::Held) || order_version <= self.modified {
            return Vec::new();
        }
        self.modified = order_version;
        self.events += 1;
        if self.on_hand - self.reserved + self.held < pieces {
            let (reason, detail) = ("OUT_OF_STOCK".to_owned(), String::new());
            return vec![Signal::StockModificationRejected { order_version, reason, detail }];
        }
        self.reserved += pieces - self.held;
        self.held = pieces;
        vec![Signal::StockModified { order_version }]
    }

    /// The first time it is asked for; then nothing is published, because nothing changes.
    pub fn release(&mut self, expired: bool) -> Vec<Signal> {
        if self.reservation == Some(Reservation::Released) { Vec::new() } else { self.release_again(expired) }
    }

    /// Asked for by an operator, who wants the answer again.
    pub fn release_again(&mut self, expired: bool) -> Vec<Signal> {
        match self.reservation {
            Some(Reservation::Shipped) => return Vec::new(),
            Some(Reservation::Held) => self.reserved -= self.held,
            Some(Reservation::Released | Reservation::Rejected) | None => {}
        }
        self.reservation = Some(Reservation::Released);
        self.events += 1;
        vec![Signal::StockReleased { expired }]
    }

    /// Its time is up, and the order was settled when it was asked about.
    pub fn expire(&mut self) -> Vec<Signal> {
        if self.reservation == Some(Reservation::Held) { self.release(true) } else { Vec::new() }
    }

    pub fn ship(&mut self) -> Vec<Signal> {
        if self.reservation == Some(Reservation::Held) {
            self.on_hand -= self.held;
            self.reserved -= self.held;
            self.reservation = Some(Reservation::Shipped);
        }
        Vec::new()
    }
}

/// The wallet of the customer, and the payment of one order.
#[derive(Debug)]
pub struct Payment {
    pub balance: i64,
    /// Whether money was taken; none before it is decided.
    pub taken: Option<bool>,
    pub given_back: bool,
    pub debits: u32,
    pub credits: u32,
    /// What the order costs, less its discount.
    pub price: i64,
    /// Payments of the order as it was at this version, or before, are not taken; 0: nothing was held back.
    held_back: i64,
}

impl Payment {
    pub fn new(has_money: bool, price: i64) -> Self {
        let balance = if has_money { MONEY } else { (price - 1).max(0) };
        Self { balance, taken: None, given_back: false, debits: 0, credits: 0, price, held_back: 0 }
    }

    pub fn pay(&mut self) -> Vec<Signal> {
        if self.taken.is_some() {
            return Vec::new();
        }
        let enough = self.balance >= self.price;
        self.taken = Some(enough);
        if !enough {
            return vec![refused()];
        }
        self.balance -= self.price;
        self.debits += 1;
        vec![paid()]
    }

    /// A caller asks for it: what cannot be taken decides nothing and is told the caller alone.
    pub fn process(&mut self, order_version: i64, price: i64) -> Vec<Signal> {
        if self.taken.is_some() || order_version <= self.held_back || self.balance < price {
            return Vec::new();
        }
        self.price = price;
        self.pay()
    }

    /// No payment of the order as it was at this version is taken any more, unless one was.
    pub fn hold(&mut self, order_version: i64) -> Vec<Signal> {
        if self.taken.is_some() || order_version <= self.held_back {
            return Vec::new();
        }
        self.held_back = order_version;
        vec![Signal::PaymentHeldBack { order_version }]
    }

    /// The first time it is asked for; then nothing is published, because nothing changes.
    pub fn refund(&mut self) -> Vec<Signal> {
        if self.taken == Some(false) || self.given_back { Vec::new() } else { self.refund_again() }
    }

    /// Asked for by an operator, who wants the answer again.
    pub fn refund_again(&mut self) -> Vec<Signal> {
        match self.taken {
            Some(true) => {
                if !self.given_back {
                    self.balance += self.price;
                    self.credits += 1;
                    self.given_back = true;
                }
                vec![Signal::PaymentRefunded]
            }
            Some(false) => vec![refused()],
            None => {
                // Voided: a later payment is never taken.
                self.taken = Some(false);
                vec![Signal::PaymentFailed { reason: "VOIDED".to_owned() }]
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Held,
    Redeemed,
    Released,
    Refused,
}

/// One issued coupon, and its use by one order.
#[derive(Debug)]
pub struct Promotion {
    /// What it takes off the order's line; none: it cannot be used.
    discount: Option<i64>,
    pub coupon_use: Option<Use>,
}

impl Promotion {
    pub fn new(discount: Option<i64>) -> Self {
        Self { discount, coupon_use: None }
    }

    pub fn hold(&mut self) -> Vec<Signal> {
        if self.coupon_use.is_some() {
            return Vec::new();
        }
        if let Some(discount) = self.discount {
            self.coupon_use = Some(Use::Held);
            vec![Signal::CouponHeld { line_discounts: vec![euros(discount)] }]
        } else {
            self.coupon_use = Some(Use::Refused);
            vec![Signal::CouponRejected { reason: "COUPON_EXPIRED".to_owned(), detail: String::new() }]
        }
    }

    pub fn redeem(&mut self) -> Vec<Signal> {
        if self.coupon_use == Some(Use::Held) {
            self.coupon_use = Some(Use::Redeemed);
        }
        Vec::new()
    }

    /// The first time it is asked for; then nothing is published, because nothing changes.
    pub fn release(&mut self) -> Vec<Signal> {
        if self.coupon_use == Some(Use::Released) { Vec::new() } else { self.release_again() }
    }

    /// Asked for by an operator, who wants the answer again.
    pub fn release_again(&mut self) -> Vec<Signal> {
        self.coupon_use = Some(Use::Released);
        vec![Signal::CouponRestored]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parcel {
    Made,
    Shipped,
    Delivered,
    Cancelled,
}

/// The parcel of one order: whoever is first decides whether it leaves.
#[derive(Debug, Default)]
pub struct Shipping {
    pub parcel: Option<Parcel>,
}

impl Shipping {
    pub fn make(&mut self) -> Vec<ShipmentFact> {
        if self.parcel.is_some() {
            return Vec::new();
        }
        self.parcel = Some(Parcel::Made);
        vec![ShipmentFact::Created]
    }

    pub fn ship(&mut self) -> Vec<ShipmentFact> {
        if self.parcel != Some(Parcel::Made) {
            return Vec::new();
        }
        self.parcel = Some(Parcel::Shipped);
        vec![ShipmentFact::Shipped]
    }

    pub fn deliver(&mut self) -> Vec<ShipmentFact> {
        if self.parcel != Some(Parcel::Shipped) {
            return Vec::new();
        }
        self.parcel = Some(Parcel::Delivered);
        vec![ShipmentFact::Delivered]
    }

    /// Also of a parcel that is not made yet: it never is.
    pub fn cancel(&mut self, cause: CancellationCause) -> Vec<ShipmentFact> {
        if !matches!(self.parcel, None | Some(Parcel::Made)) {
            return Vec::new();
        }
        self.parcel = Some(Parcel::Cancelled);
        vec![ShipmentFact::Cancelled { cause, detail: "changed my mind".to_owned() }]
    }
}
