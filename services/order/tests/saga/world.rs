//! One order between its participants: messages under way, handled one at a time in any order.

use openorder_order::{
    domain::{CancellationCause, Order, OrderEvent, OrderStatus, PaymentMode, ReservationMode},
    saga::{Effect, Saga, Signal, Step, next},
};
use openorder_types::UserId;
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
    /// Versions of the requests for stock and for money, as they were asked.
    releases: Vec<i64>,
    refunds: Vec<i64>,
    pub stock_reported_lost: bool,
    seconds: i64,
    at_first: (i64, i64),
}

impl World {
    /// An order was just made.
    pub fn new(has_stock: bool, has_money: bool) -> Self {
        let created = OrderEvent::Created {
            customer_id: UserId::parse("ada").unwrap(),
            customer_email: None,
            lines: Vec::new(),
            total: None,
            reservation_mode: ReservationMode::Deferred,
            payment_mode: PaymentMode::Automatic,
        };
        let (inventory, payment) = (Inventory::new(has_stock), Payment::new(has_money));
        Self {
            saga: Saga::begin(at(0)),
            order: Order::created(Uuid::from_u128(1), &created, at(0)).unwrap(),
            at_first: (inventory.on_hand, payment.balance),
            inventory,
            payment,
            under_way: vec![Letter::Reserve],
            releases: Vec::new(),
            refunds: Vec::new(),
            stock_reported_lost: false,
            seconds: 0,
        }
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
                self.signal(&signal);
                Vec::new()
            }
        };
        self.under_way.extend(answers.into_iter().map(Letter::Signal));
    }

    /// Tells the saga, and does what it wants done.
    pub fn signal(&mut self, signal: &Signal) {
        self.seconds += 1;
        let (saga, effects) = next(&self.saga, signal, &TIMEOUTS, at(self.seconds));
        self.saga = saga;
        let again = effects.iter().any(|effect| matches!(effect, Effect::NoteRetry { .. }));
        for effect in effects {
            self.perform(effect, again);
        }
    }

    fn perform(&mut self, effect: Effect, again: bool) {
        match effect {
            Effect::Confirm => self.happen(&OrderEvent::Confirmed, Some(Letter::Pay)),
            Effect::MarkPaid { payment_id } => self.happen(&OrderEvent::Paid { payment_id }, None),
            Effect::Prepare => self.happen(&OrderEvent::Preparing, None),
            Effect::Reject { reason, detail } => self.happen(&OrderEvent::Rejected { reason, detail }, None),
            Effect::Cancel { cause, reason, detail } => {
                self.happen(&OrderEvent::Cancelled { cause, reason, detail }, None);
            }
            Effect::RequestRelease { .. } => {
                self.releases.push(self.saga.releases);
                self.under_way.push(if again { Letter::ReleaseAgain } else { Letter::Release });
            }
            Effect::RequestRefund { .. } => {
                self.refunds.push(self.saga.refunds);
                self.under_way.push(if again { Letter::RefundAgain } else { Letter::Refund });
            }
            Effect::FailCompensation { stock_open, payment_open, .. } => assert!(stock_open || payment_open),
            Effect::NoteSettlement { stock, payment, .. } => assert!(stock || payment),
            Effect::NoteRetry { .. } => {}
            Effect::ReportStockLost => self.stock_reported_lost = true,
        }
    }

    fn happen(&mut self, event: &OrderEvent, tells: Option<Letter>) {
        let (before, version) = (self.order.status, self.order.version);
        assert!(!before.is_final(), "{event:?} of an order that is {before}");
        self.order.evolve(event, at(self.seconds));
        assert_eq!(self.order.version, version + 1);
        self.under_way.extend(tells);
    }

    /// The time of the step is up, if it has one.
    pub fn pass_deadline(&mut self) {
        if let Some(deadline) = self.saga.deadline(&TIMEOUTS) {
            self.seconds = self.seconds.max((deadline - at(0)).num_seconds());
            self.signal(&Signal::DeadlinePassed);
        }
    }

    /// The customer calls the order off, if it may.
    pub fn cancel(&mut self) {
        if self.order.status.is_cancellable() {
            let (cause, detail) = (CancellationCause::Customer, "changed my mind".to_owned());
            self.signal(&Signal::CancelRequested { cause, detail });
        }
    }

    /// An operator moves the order on, if it may.
    pub fn ship(&mut self) {
        if let Ok(event) = self.order.update_status(OrderStatus::Preparing, OrderStatus::Shipped) {
            self.happen(&event, Some(Letter::Ship));
            self.signal(&Signal::Shipped);
        }
    }

    /// The time of the reservation is up: the inventory service asks about the order, and acts on it a while later.
    pub fn look_at_expired(&mut self) {
        if self.inventory.reservation == Some(Reservation::Held) && self.order.status.is_final() {
            self.under_way.push(Letter::Expire);
        }
    }

    pub fn retry(&mut self) {
        self.signal(&Signal::RetryRequested { operator: "olga".to_owned(), reason: "they are back".to_owned() });
    }

    /// An operator puts right by hand what is open, and says so. The answers are on their way all the same.
    pub fn settle(&mut self) {
        if self.saga.step != Step::CompensationFailed {
            return;
        }
        let answers = [self.inventory.release(false), self.payment.refund()].concat();
        self.under_way.extend(answers.into_iter().map(Letter::Signal));
        self.signal(&Signal::SettleRequested { operator: "olga".to_owned(), reason: "by hand".to_owned() });
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
        assert_eq!(order.status == OrderStatus::Rejected, saga.step == Step::Rejected);
    }
}
