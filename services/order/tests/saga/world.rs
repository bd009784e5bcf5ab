//! One order between its participants: messages under way, handled one at a time in any order. What follows from each
//! is decided by the domain, as in the service.

use std::collections::HashMap;

use openorder_order::{
    domain::{
        CancellationCause, CatalogItem, CompensationRequest, Context, Creation, Event, NewOrder, Order, OrderCommand,
        OrderEvent, OrderStatus, PaymentMode, ProductAnswers, RequestedLine, ReservationMode, ShipmentFact, State,
        create, decide, evolve,
    },
    saga::{OpenSince, Saga, SagaSettings, Signal, Step},
};
use openorder_types::{Quantity, Sku, UserId};
use uuid::Uuid;

use crate::{
    SETTINGS, at, euros,
    participants::{DISCOUNT, Inventory, PIECES, PRICE, Parcel, Payment, Promotion, Reservation, STOCK, Shipping, Use},
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
    HoldCoupon,
    RedeemCoupon,
    ReleaseCoupon,
    ReleaseCouponAgain,
    MakeParcel,
    CancelParcel(CancellationCause),
    /// The order was moved on by an operator.
    FollowOrder(OrderStatus),
    Signal(Signal),
    Fact(ShipmentFact),
}

impl Letter {
    pub fn is_undo(&self) -> bool {
        matches!(
            self,
            Self::Release
                | Self::ReleaseAgain
                | Self::Refund
                | Self::RefundAgain
                | Self::ReleaseCoupon
                | Self::ReleaseCouponAgain
        )
    }
}

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

    fn discount(self) -> Option<i64> {
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
}

impl Case {
    /// Everything is there.
    pub const GOOD: Self =
        Self { is_product_known: true, has_stock: true, has_money: true, coupon: Coupon::None, ships: false };
}

pub struct World {
    pub saga: Saga,
    pub order: Order,
    pub inventory: Inventory,
    pub payment: Payment,
    pub promotion: Promotion,
    pub shipping: Shipping,
    pub under_way: Vec<Letter>,
    case: Case,
    settings: SagaSettings,
    /// Versions of the requests for stock, for money and of the promotion service, in their order.
    releases: Vec<i64>,
    refunds: Vec<i64>,
    coupon_requests: Vec<i64>,
    pub stock_reported_lost: bool,
    pub parcel_reported_lost: bool,
    seconds: i64,
    at_first: (i64, i64),
}

impl World {
    /// An order was just made.
    pub fn of(case: Case) -> Self {
        let catalogue = if case.is_product_known { HashMap::from([(sku(), item())]) } else { HashMap::new() };
        let settings = SagaSettings { ships: case.ships, ..SETTINGS };
        let context = Context { catalogue: &catalogue, settings: &settings, now: at(0) };
        let Creation { order, saga, events } = create(&new_order(case), &context).unwrap();
        let (inventory, payment) = (Inventory::new(case.has_stock), Payment::new(case.has_money, case.coupon.price()));
        let mut world = Self {
            saga,
            order,
            at_first: (inventory.on_hand, payment.balance),
            inventory,
            payment,
            promotion: Promotion::new(case.coupon.discount()),
            shipping: Shipping::default(),
            under_way: vec![Letter::Reserve],
            case,
            settings,
            releases: Vec::new(),
            refunds: Vec::new(),
            coupon_requests: Vec::new(),
            stock_reported_lost: false,
            parcel_reported_lost: false,
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
            Letter::HoldCoupon => self.promotion.hold(),
            Letter::RedeemCoupon => self.promotion.redeem(),
            Letter::ReleaseCoupon => self.promotion.release(),
            Letter::ReleaseCouponAgain => self.promotion.release_again(),
            Letter::MakeParcel => return self.tell(Shipping::make),
            Letter::CancelParcel(cause) => return self.tell(|shipping| shipping.cancel(cause)),
            Letter::FollowOrder(OrderStatus::Delivered) => return self.carry(true),
            Letter::FollowOrder(_) => return self.carry(false),
            Letter::Signal(signal) => {
                self.decide(&OrderCommand::Signal(signal));
                Vec::new()
            }
            Letter::Fact(fact) => {
                self.decide(&OrderCommand::Shipment(fact));
                Vec::new()
            }
        };
        self.under_way.extend(answers.into_iter().map(Letter::Signal));
    }

    /// Has the shipping service do something; what it publishes is under way then.
    fn tell(&mut self, act: impl FnOnce(&mut Shipping) -> Vec<ShipmentFact>) {
        let facts = act(&mut self.shipping);
        self.under_way.extend(facts.into_iter().map(Letter::Fact));
    }

    /// The carrier has the parcel, or has brought it.
    pub fn carry(&mut self, to_the_door: bool) {
        self.tell(Shipping::ship);
        if to_the_door {
            self.tell(Shipping::deliver);
        }
    }

    /// Has a command decided on, and does what follows. Whether it was not rejected; a rejection changes nothing.
    fn decide(&mut self, command: &OrderCommand) -> bool {
        self.try_to(command).is_ok()
    }

    /// The same, with the reason of a rejection.
    fn try_to(&mut self, command: &OrderCommand) -> Result<(), &'static str> {
        self.seconds += 1;
        let context = Context { catalogue: &HashMap::new(), settings: &self.settings, now: at(self.seconds) };
        let decided = decide(State { order: &self.order, saga: &self.saga }, command, &context);
        self.apply(&decided.map_err(|rejection| rejection.reason)?);
        Ok(())
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
                Event::CouponHoldRequested => self.ask_promotion(Letter::HoldCoupon),
                Event::CouponRedeemRequested => self.ask_promotion(Letter::RedeemCoupon),
                Event::CouponReleaseRequested { answer_again: false } => self.ask_promotion(Letter::ReleaseCoupon),
                Event::CouponReleaseRequested { answer_again: true } => self.ask_promotion(Letter::ReleaseCouponAgain),
                Event::StockLost => self.stock_reported_lost = true,
                Event::ParcelLost => self.parcel_reported_lost = true,
            }
        }
    }

    fn ask_promotion(&mut self, letter: Letter) {
        self.coupon_requests.push(self.saga.coupon_requests);
        self.under_way.push(letter);
    }

    /// The participants act on a fact about the order.
    fn publish(&mut self, event: &OrderEvent, (before, version): (OrderStatus, i64)) {
        assert_eq!(self.order.version, version + 1);
        match event {
            OrderEvent::CompensationFailed { stock_open, payment_open, coupon_open, .. } => {
                assert!(*stock_open || *payment_open || *coupon_open);
            }
            OrderEvent::CompensationSettled { stock, payment, coupon, .. } => assert!(*stock || *payment || *coupon),
            OrderEvent::CompensationRetried { .. } => {}
            _ => assert!(!before.is_final(), "{event:?} of an order that is {before}"),
        }
        match event {
            OrderEvent::Confirmed { .. } if self.order.total.unwrap().is_positive() => self.under_way.push(Letter::Pay),
            OrderEvent::Paid { .. } if self.case.ships => self.under_way.push(Letter::MakeParcel),
            OrderEvent::Shipped => self.under_way.extend([Letter::Ship, Letter::FollowOrder(OrderStatus::Shipped)]),
            OrderEvent::Delivered => self.under_way.push(Letter::FollowOrder(OrderStatus::Delivered)),
            OrderEvent::Cancelled { cause, .. } if self.case.ships => self.under_way.push(Letter::CancelParcel(*cause)),
            _ => {}
        }
    }

    /// The time of the step is up, if it has one.
    pub fn pass_deadline(&mut self) {
        if let Some(deadline) = self.saga.deadline(&SETTINGS) {
            self.seconds = self.seconds.max((deadline - at(0)).num_seconds());
            let open = OpenSince { own: at(0), stock: at(0), payment: at(0), coupon: at(0) };
            let saga = self.saga.clone();
            assert!(self.decide(&OrderCommand::CheckDeadline(open)));
            assert_ne!(self.saga, saga, "a deadline that has passed moves the saga");
        }
    }

    /// The customer calls the order off, if it may. Where there is a parcel, the shipping service is asked first.
    pub fn cancel(&mut self) {
        let (cause, owner) = (CancellationCause::Customer, Some(self.order.customer_id.clone()));
        let command = |is_held_back| {
            let (detail, owner) = ("changed my mind".to_owned(), owner.clone());
            OrderCommand::Cancel { cause, detail, owner, is_held_back }
        };
        if self.try_to(&command(false)) == Err("SHIPMENT_IN_DOUBT") {
            self.tell(|shipping| shipping.cancel(cause));
            if self.shipping.parcel == Some(Parcel::Cancelled) {
                assert!(self.decide(&command(true)), "{:?}", self.order);
            }
        }
    }

    /// An operator moves the order on, if it may. Where there is a parcel, it leaves first.
    pub fn ship(&mut self) {
        let (previous, current) = (OrderStatus::Preparing, OrderStatus::Shipped);
        let command = |is_agreed| OrderCommand::UpdateStatus { previous, current, is_agreed };
        if self.try_to(&command(false)) == Err("SHIPMENT_IN_DOUBT") {
            self.tell(Shipping::ship);
            if matches!(self.shipping.parcel, Some(Parcel::Shipped | Parcel::Delivered)) {
                assert!(self.decide(&command(true)), "{:?}", self.order);
            }
        }
    }

    pub fn deliver_order(&mut self) {
        let (previous, current) = (OrderStatus::Shipped, OrderStatus::Delivered);
        self.decide(&OrderCommand::UpdateStatus { previous, current, is_agreed: false });
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
        let mut answers = [self.inventory.release(false), self.payment.refund()].concat();
        if self.saga.coupon.number() == 5 {
            answers.extend(self.promotion.release());
        }
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

    /// All is quiet: the order is final or goes its way, and stock, money, coupon and parcel are where they belong.
    pub fn check(&self) {
        let World { saga, order, inventory, payment, case, .. } = self;
        assert!(self.under_way.is_empty());
        assert!(matches!(saga.step, Step::Completed | Step::Compensated | Step::Rejected), "{saga:?}");
        assert!(payment.debits <= 1, "charged {} times", payment.debits);
        assert!(payment.credits <= payment.debits, "more given back than taken");
        let versions = [&self.releases, &self.refunds, &self.coupon_requests];
        for versions in versions {
            let count = i64::try_from(versions.len()).unwrap();
            assert!(versions.iter().copied().eq(1..=count), "a gap in {versions:?}");
        }
        let goes = matches!(order.status, OrderStatus::Preparing | OrderStatus::Shipped | OrderStatus::Delivered);
        if goes {
            self.check_on_its_way();
        } else {
            assert!(
                matches!(order.status, OrderStatus::Cancelled | OrderStatus::Rejected),
                "{} for ever",
                order.status
            );
            let (on_hand, balance) = self.at_first;
            assert_eq!(inventory.reserved, 0, "{}, and stock is held: {saga:?}", order.status);
            assert_eq!(inventory.on_hand, on_hand);
            assert_eq!(payment.balance, balance, "{}, and money is kept: {saga:?}", order.status);
            let is_free = !matches!(self.promotion.coupon_use, Some(Use::Held | Use::Redeemed));
            assert!(is_free, "{}, and the coupon is {:?}: {saga:?}", order.status, self.promotion.coupon_use);
            let has_left = matches!(self.shipping.parcel, Some(Parcel::Shipped | Parcel::Delivered));
            assert!(!has_left || self.parcel_reported_lost, "{}, and the parcel has left", order.status);
            assert_ne!(self.shipping.parcel, Some(Parcel::Made), "{}, and the parcel is ready", order.status);
        }
        let is_rejected = order.status == OrderStatus::Rejected;
        if case.coupon == Coupon::None && case.is_product_known {
            assert_eq!(is_rejected, saga.step == Step::Rejected);
        } else if is_rejected {
            // Compensated, when something was held.
            assert!(matches!(saga.step, Step::Rejected | Step::Compensated), "{order:?}, {saga:?}");
        }
        assert!(is_rejected || case.is_product_known);
        assert!(case.coupon != Coupon::Bad || !goes, "it cannot be used, and the order goes its way");
    }

    fn check_on_its_way(&self) {
        let World { order, inventory, payment, case, shipping, .. } = self;
        assert_eq!(payment.balance, self.at_first.1 - case.coupon.price(), "{}, and not paid", order.status);
        assert_eq!(order.total, Some(euros(case.coupon.price())), "{order:?}");
        let line_discounts: Vec<_> = order.lines.iter().filter_map(|line| line.discount).collect();
        assert_eq!(line_discounts, case.coupon.discount().map(euros).into_iter().collect::<Vec<_>>());
        assert_eq!(self.promotion.coupon_use, case.coupon.discount().map(|_| Use::Redeemed));
        let is_ready = order.status == OrderStatus::Preparing;
        if case.ships {
            let parcel = match order.status {
                OrderStatus::Preparing => Parcel::Made,
                OrderStatus::Shipped => Parcel::Shipped,
                _ => Parcel::Delivered,
            };
            assert_eq!(shipping.parcel, Some(parcel), "{order:?}");
        }
        if self.stock_reported_lost {
            assert!(!is_ready && inventory.reservation == Some(Reservation::Released), "{inventory:?}");
            return;
        }
        assert_eq!(inventory.reserved, if is_ready { PIECES } else { 0 }, "{inventory:?}");
        assert_eq!(inventory.on_hand, if is_ready { STOCK } else { STOCK - PIECES });
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
        unit_price: euros(PRICE / PIECES),
        deleted: false,
    }
}

fn new_order(case: Case) -> NewOrder {
    NewOrder {
        order_id: Uuid::from_u128(1),
        customer_id: UserId::parse("ada").unwrap(),
        customer_email: None,
        lines: vec![RequestedLine { sku: sku(), quantity: Quantity::parse(PIECES).unwrap() }],
        reservation_mode: ReservationMode::Deferred,
        payment_mode: PaymentMode::Automatic,
        expected_total: Some(euros(PRICE)),
        issued_coupon_id: (case.coupon != Coupon::None).then(|| Uuid::from_u128(7)),
        shipping_address: None,
        checkout_id: None,
        product_answers: ProductAnswers::from([(sku(), case.is_product_known)]),
    }
}
