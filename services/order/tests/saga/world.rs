//! One order between its participants: messages under way, handled one at a time in any order. What follows from each
//! is decided by the domain, as in the service.

use std::collections::HashMap;

use openorder_order::{
    domain::{
        CancellationCause, CatalogItem, CompensationRequest, Context, Creation, Event, NewOrder, Order, OrderCommand,
        OrderEvent, OrderStatus, PaymentMode, ProductAnswers, RequestedLine, ReservationMode, State, create, decide,
        evolve,
    },
    saga::{OpenSince, Saga, Signal, Step},
};
use openorder_types::{Currency, Money, Quantity, Sku, UserId};
use uuid::Uuid;

use crate::{
    TIMEOUTS, at,
    participants::{Inventory, MONEY, PIECES, PRICE, Payment, Reservation, STOCK},
};

/// What is under way: an event or a request to a participant, or a signal to the saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    Reserve,
    Ship,
    Release,
    ReleaseAgain,
    /// Its time is up, and the order was settled when it was asked about.
    Expire,
    Pay,
    Refund,
    RefundAgain,
    Signal(Signal),
}

impl Letter {
    pub fn is_undo(&self) -> bool {
        matches!(self, Self::Release | Self::ReleaseAgain | Self::Refund | Self::RefundAgain)
    }
}

pub struct World {
    pub saga: Saga,
    pub order: Order,
    pub inventory: Inventory,
    pub payment: Payment,
    pub under_way: Vec<Letter>,
    /// Whether the product service has what is ordered.
    is_product_known: bool,
    /// Versions of the requests for stock and for money, in their order.
    releases: Vec<i64>,
    refunds: Vec<i64>,
    pub stock_reported_lost: bool,
    seconds: i64,
    at_first: (i64, i64),
}

impl World {
    /// An order was just made.
    pub fn new(has_stock: bool, has_money: bool) -> Self {
        Self::of_product(true, has_stock, has_money)
    }

    /// An order was just made; its product exists, or the product service has answered that it does not.
    pub fn of_product(is_product_known: bool, has_stock: bool, has_money: bool) -> Self {
        let catalogue = if is_product_known { HashMap::from([(sku(), item())]) } else { HashMap::new() };
        let context = Context { catalogue: &catalogue, timeouts: &TIMEOUTS, now: at(0) };
        let Creation { order, saga, events } = create(&new_order(is_product_known), &context).unwrap();
        let (inventory, payment) = (Inventory::new(has_stock), Payment::new(has_money));
        let mut world = Self {
            saga,
            order,
            at_first: (inventory.on_hand, payment.balance),
            inventory,
            payment,
            under_way: vec![Letter::Reserve],
            is_product_known,
            releases: Vec::new(),
            refunds: Vec::new(),
            stock_reported_lost: false,
            seconds: 0,
        };
        world.apply(&events);
        world
    }

    /// Handles a message; what follows from it is under way then.
    pub fn handle(&mut self, letter: Letter) {
        let answers = match letter {
            Letter::Reserve => self.inventory.reserve(),
            Letter::Ship => self.inventory.ship(),
            Letter::Release => self.inventory.release(false),
            Letter::ReleaseAgain => self.inventory.release_again(false),
            Letter::Expire => self.inventory.expire(),
            Letter::Pay => self.payment.pay(),
            Letter::Refund => self.payment.refund(),
            Letter::RefundAgain => self.payment.refund_again(),
            Letter::Signal(signal) => {
                self.decide(&OrderCommand::Signal(signal));
                Vec::new()
            }
        };
        self.under_way.extend(answers.into_iter().map(Letter::Signal));
    }

    /// Has a command decided on, and does what follows. Whether it was not rejected; a rejection changes nothing.
    fn decide(&mut self, command: &OrderCommand) -> bool {
        self.seconds += 1;
        let context = Context { catalogue: &HashMap::new(), timeouts: &TIMEOUTS, now: at(self.seconds) };
        let decided = decide(State { order: &self.order, saga: &self.saga }, command, &context);
        decided.is_ok_and(|events| {
            self.apply(&events);
            true
        })
    }

    fn apply(&mut self, events: &[Event]) {
        for event in events {
            let before = (self.order.status, self.order.version);
            evolve(&mut self.order, &mut self.saga, event, at(self.seconds));
            match event {
                Event::Order(event) => self.publish(event, before),
                Event::Saga(_) => {}
                Event::ReleaseRequested { answer_again, .. } => {
                    self.releases.push(self.saga.releases);
                    self.under_way.push(if *answer_again { Letter::ReleaseAgain } else { Letter::Release });
                }
                Event::RefundRequested { answer_again, .. } => {
                    self.refunds.push(self.saga.refunds);
                    self.under_way.push(if *answer_again { Letter::RefundAgain } else { Letter::Refund });
                }
                Event::StockLost => self.stock_reported_lost = true,
            }
        }
    }

    /// The participants act on a fact about the order.
    fn publish(&mut self, event: &OrderEvent, (before, version): (OrderStatus, i64)) {
        assert_eq!(self.order.version, version + 1);
        match event {
            OrderEvent::CompensationFailed { stock_open, payment_open, .. } => assert!(*stock_open || *payment_open),
            OrderEvent::CompensationSettled { stock, payment, .. } => assert!(*stock || *payment),
            OrderEvent::CompensationRetried { .. } => {}
            _ => assert!(!before.is_final(), "{event:?} of an order that is {before}"),
        }
        match event {
            OrderEvent::Confirmed => self.under_way.push(Letter::Pay),
            OrderEvent::Shipped => self.under_way.push(Letter::Ship),
            _ => {}
        }
    }

    /// The time of the step is up, if it has one.
    pub fn pass_deadline(&mut self) {
        if let Some(deadline) = self.saga.deadline(&TIMEOUTS) {
            self.seconds = self.seconds.max((deadline - at(0)).num_seconds());
            let open = OpenSince { own: at(0), stock: at(0), payment: at(0) };
            let saga = self.saga.clone();
            assert!(self.decide(&OrderCommand::CheckDeadline(open)));
            assert_ne!(self.saga, saga, "a deadline that has passed moves the saga");
        }
    }

    /// The customer calls the order off, if it may.
    pub fn cancel(&mut self) {
        let (cause, detail) = (CancellationCause::Customer, "changed my mind".to_owned());
        let owner = Some(self.order.customer_id.clone());
        self.decide(&OrderCommand::Cancel { cause, detail, owner });
    }

    /// An operator moves the order on, if it may.
    pub fn ship(&mut self) {
        let (previous, current) = (OrderStatus::Preparing, OrderStatus::Shipped);
        self.decide(&OrderCommand::UpdateStatus { previous, current });
    }

    /// The time of the reservation is up: the inventory service asks about the order, and acts on it a while later.
    pub fn look_at_expired(&mut self) {
        if self.inventory.reservation == Some(Reservation::Held) && self.order.status.is_final() {
            self.under_way.push(Letter::Expire);
        }
    }

    pub fn retry(&mut self) {
        self.compensation(CompensationRequest::Retry, "they are back");
    }

    /// An operator puts right by hand what is open, and says so. The answers are on their way all the same.
    pub fn settle(&mut self) {
        if self.saga.step != Step::CompensationFailed {
            return;
        }
        let answers = [self.inventory.release(false), self.payment.refund()].concat();
        self.under_way.extend(answers.into_iter().map(Letter::Signal));
        self.compensation(CompensationRequest::Settle, "by hand");
    }

    fn compensation(&mut self, request: CompensationRequest, reason: &str) {
        let (operator, reason) = ("olga".to_owned(), reason.to_owned());
        self.decide(&OrderCommand::Compensation { request, operator, reason });
    }

    /// Handles what is under way, oldest first, but for what is held back.
    pub fn deliver(&mut self, held_back: impl Fn(&Letter) -> bool) {
        let mut rounds = 0;
        while let Some(index) = self.under_way.iter().position(|letter| !held_back(letter)) {
            rounds += 1;
            assert!(rounds < 1_000, "it never becomes quiet");
            let letter = self.under_way.remove(index);
            self.handle(letter);
        }
    }

    /// All is quiet: the order is final or goes its way, and stock and money are where they belong.
    pub fn check(&self) {
        let World { saga, order, inventory, payment, .. } = self;
        assert!(self.under_way.is_empty());
        assert!(matches!(saga.step, Step::Completed | Step::Compensated | Step::Rejected), "{saga:?}");
        assert!(payment.debits <= 1, "charged {} times", payment.debits);
        assert!(payment.credits <= payment.debits, "more given back than taken");
        let (on_hand, balance) = self.at_first;
        let shipped = match order.status {
            OrderStatus::Preparing | OrderStatus::Shipped => {
                assert_eq!(payment.balance, MONEY - PRICE, "{}, and not paid", order.status);
                let goes = order.status == OrderStatus::Shipped;
                if self.stock_reported_lost {
                    assert!(goes && inventory.reservation == Some(Reservation::Released), "{inventory:?}");
                    return;
                }
                assert_eq!(inventory.reserved, if goes { 0 } else { PIECES }, "{inventory:?}");
                goes
            }
            OrderStatus::Cancelled | OrderStatus::Rejected => {
                assert_eq!(inventory.reserved, 0, "{}, and stock is held: {saga:?}", order.status);
                assert_eq!(payment.balance, balance, "{}, and money is kept: {saga:?}", order.status);
                false
            }
            status => panic!("the order is {status} for ever: {saga:?}"),
        };
        assert_eq!(inventory.on_hand, if shipped { STOCK - PIECES } else { on_hand });
        for versions in [&self.releases, &self.refunds] {
            let count = i64::try_from(versions.len()).unwrap();
            assert!(versions.iter().copied().eq(1..=count), "a gap in {versions:?}");
        }
        let is_rejected = order.status == OrderStatus::Rejected;
        if self.is_product_known {
            assert_eq!(is_rejected, saga.step == Step::Rejected);
        } else {
            // Compensated, when the stock was held after all.
            assert!(is_rejected && matches!(saga.step, Step::Rejected | Step::Compensated), "{order:?}, {saga:?}");
        }
    }
}

fn sku() -> Sku {
    Sku::parse("TEA").unwrap()
}

fn item() -> CatalogItem {
    CatalogItem {
        sku: sku(),
        product_id: Uuid::from_u128(2),
        product_version: 1,
        product_number: 1,
        display_name: "Tea".to_owned(),
        unit_price: Money::new(PRICE / PIECES, Currency::parse("EUR").unwrap()),
        deleted: false,
    }
}

fn new_order(is_product_known: bool) -> NewOrder {
    NewOrder {
        order_id: Uuid::from_u128(1),
        customer_id: UserId::parse("ada").unwrap(),
        customer_email: None,
        lines: vec![RequestedLine { sku: sku(), quantity: Quantity::parse(PIECES).unwrap() }],
        reservation_mode: ReservationMode::Deferred,
        payment_mode: PaymentMode::Automatic,
        expected_total: Some(Money::new(PRICE, Currency::parse("EUR").unwrap())),
        product_answers: ProductAnswers::from([(sku(), is_product_known)]),
    }
}
