//! The whole shop: carts and coupons, both ways to pay, other lines, parcels and cancellations, while every role is killed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use openorder_proto::{
    cart::v1::{AddItemRequest, CheckoutRequest, GetCartRequest},
    google::r#type::Money,
    order::v1::{
        CancelOrderRequest, CreateOrderRequest, GetOrderRequest, ModifyOrderRequest, Order, OrderModificationState,
        OrderStatus, PaymentMode, RequestedLine, ReservationMode,
    },
    payment::v1::ProcessPaymentRequest,
    promotion::v1::{IssueCouponRequest, issue_coupon_request},
    shipping::v1::{ShipmentState, UpdateShipmentRequest},
};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::{
    Outcome, Servers, eur,
    faults::{Length, kill::kill_any},
    fleet::Fleet,
    id,
    load::{Ledger, Load, Names, Plan, is_transient},
    shop::Shop,
};

/// Customers, each of whom does one thing after the other.
const CUSTOMERS: usize = 10;
/// What each has to begin with, in whole euros.
const MONEY: i64 = 100_000;
/// Pieces of the product that everybody wants and few get.
const SCARCE: i32 = 15;
/// Coupons of a tenth off that there are.
const COUPONS: i32 = 100_000;
/// Those that one customer may have, as many as there may be.
const COUPONS_A_CUSTOMER: i32 = 1_000;
const TRY_BOUND: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// How long an order may take to come to a status that it has to come to.
const STEP_BOUND: Duration = Duration::from_secs(90);

/// What the customers did, as they know it.
#[derive(Default)]
struct Told {
    ledger: Ledger,
    /// Orders whose parcels were said to be delivered.
    delivered: Vec<String>,
    /// Refusals for want of stock.
    sold_out: u64,
    /// How often each story came to its end.
    stories: BTreeMap<&'static str, u64>,
}

struct Street {
    names: Names,
    code: String,
    told: Mutex<Told>,
    tries: AtomicU64,
    is_over: AtomicBool,
}

/// Customers of a whole shop go on, whoever is killed: no order is lost or doubled, no piece and no coupon is given twice,
/// and everybody's wallet has what is left when all that was bought is paid.
pub async fn shop(servers: Servers, length: Length) -> (Servers, Outcome) {
    let (kills, within) = length.pick((6, Duration::from_secs(15)), (40, Duration::from_secs(120)));
    let mut fleet = Fleet::start(servers, &[]).await;
    let load = Load::start(&fleet, Plan { callers: 6, ..Plan::default() }).await;
    let street = open(&fleet).await;
    let customers = (0..CUSTOMERS).map(|number| tokio::spawn(live(Arc::clone(&street), fleet.shop(), number)));
    let customers: Vec<_> = customers.collect();
    kill_any(&mut fleet, kills, within).await;
    let recovery = load.probe().await;
    street.is_over.store(true, Ordering::Relaxed);
    for customer in customers {
        customer.await.expect("a customer does not fail");
    }
    let mut told = std::mem::take(&mut *street.told.lock().expect("what was told"));
    told.ledger.unanswered_tries = street.tries.load(Ordering::Relaxed);
    let (names, of_load) = (load.names().clone(), load.stop().await);
    let mut outcome = Outcome::at_end(&fleet, &names, of_load).await;
    outcome.add(judged(&fleet, &street, told).await);
    outcome.verified(fleet.verify(&["--settle", "10s"]).await);
    let what = "SIGKILL of a role while a whole shop goes on";
    super::judged(fleet, outcome.broken(what, kills, recovery)).await
}

/// Products, wallets and a coupon.
async fn open(fleet: &Fleet) -> Arc<Street> {
    let (shop, names) = (fleet.shop(), Names::new(id("shop")));
    // Two that there is enough of, and one that there is not.
    for (number, stock) in [1_000_000, 1_000_000, SCARCE].into_iter().enumerate() {
        shop.product(&names.sku(number), eur(1 + number as i64, 0), stock).await;
    }
    for number in 0..CUSTOMERS {
        shop.charge(&names.customer(number), eur(MONEY, 0)).await;
    }
    let code = names.coupon();
    shop.coupon(&code, COUPONS, COUPONS_A_CUSTOMER).await;
    shop.stock_is(&names.sku(2), SCARCE, 0).await;
    let (told, tries, is_over) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
    Arc::new(Street { names, code, told, tries, is_over })
}

/// One thing after the other.
async fn live(street: Arc<Street>, shop: Shop, number: usize) {
    let customer = Customer { name: street.names.customer(number), street, shop };
    let mut story = number;
    while !customer.street.is_over.load(Ordering::Relaxed) {
        let (name, result) = match story % 6 {
            0 => ("carts", customer.orders_a_cart(story).await),
            1 => ("paid by hand", customer.pays_by_hand().await),
            2 => ("changed", customer.changes_an_order().await),
            3 => ("called off", customer.calls_off().await),
            4 => ("scarce", customer.wants_what_is_scarce().await),
            _ => ("paid and called off at once", customer.pays_and_calls_off().await),
        };
        let mut told = customer.told();
        match result {
            Ok(()) => *told.stories.entry(name).or_default() += 1,
            Err(wrong) => told.ledger.refused.push(format!("{name}: {wrong}")),
        }
        story += 1;
    }
}

struct Customer {
    name: String,
    street: Arc<Street>,
    shop: Shop,
}

type Story = Result<(), String>;

impl Customer {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.street.told.lock().expect("what was told")
    }

    fn sku(&self, number: usize) -> String {
        self.street.names.sku(number)
    }

    /// Sends the same until it is answered; a refusal that no other try mends is given back.
    async fn until<T, F>(&self, call: impl Fn(Shop) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            match tokio::time::timeout(TRY_BOUND, call(self.shop.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if !is_transient(status.code()) => return Err(status),
                Ok(Err(_)) | Err(_) => {
                    self.street.tries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes down an order that a request made.
    fn accepted(&self, request_id: &str, order_id: &str) {
        let mut told = self.told();
        told.ledger.offered += 1;
        let known = told.ledger.accepted.insert(request_id.to_owned(), order_id.to_owned());
        if known.is_some_and(|known| known != order_id) {
            told.ledger.answered_twice.push(request_id.to_owned());
        }
    }

    async fn create(&self, request: CreateOrderRequest) -> Result<Order, Status> {
        let made = self.until(|mut shop| {
            let request = request.clone();
            async move { shop.orders.create_order(request).await }
        });
        let order = made.await?.order.unwrap_or_default();
        self.accepted(&request.request_id, &order.order_id);
        Ok(order)
    }

    fn request(&self, sku: usize, quantity: i32, payment_mode: PaymentMode) -> CreateOrderRequest {
        CreateOrderRequest { payment_mode: payment_mode.into(), ..Shop::request(&self.name, &self.sku(sku), quantity) }
    }

    /// The order once it has come to something.
    async fn until_it(&self, order_id: &str, has_come: impl Fn(&Order) -> bool) -> Result<Order, String> {
        let began = Instant::now();
        loop {
            let found = self.until(|mut shop| {
                let request = GetOrderRequest { order_id: order_id.to_owned() };
                async move { shop.orders.get_order(request).await }
            });
            let order = found.await.map_err(|status| said(&status))?.order.unwrap_or_default();
            if has_come(&order) {
                return Ok(order);
            }
            if began.elapsed() > STEP_BOUND {
                return Err(format!("{order_id} stays {}", order.status().as_str_name()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn until_status(&self, order_id: &str, status: OrderStatus) -> Result<Order, String> {
        self.until_it(order_id, |order| order.status() == status).await
    }

    async fn coupon(&self) -> Result<String, String> {
        let request = IssueCouponRequest {
            request_id: id("issue"),
            key: Some(issue_coupon_request::Key::Code(self.street.code.clone())),
            user_id: self.name.clone(),
        };
        let issued = self.until(|mut shop| {
            let request = request.clone();
            async move { shop.promotions.issue_coupon(request).await }
        });
        let issued = issued.await.map_err(|status| said(&status))?;
        Ok(issued.issued_coupon.unwrap_or_default().issued_coupon_id)
    }

    async fn pay(&self, order_id: &str) -> Result<(), Status> {
        let request = ProcessPaymentRequest { request_id: id("pay"), order_id: order_id.to_owned() };
        let paid = self.until(|mut shop| {
            let request = request.clone();
            async move { shop.payments.process_payment(request).await }
        });
        paid.await.map(drop)
    }

    async fn cancel(&self, order_id: &str) -> Result<(), Status> {
        let request = CancelOrderRequest {
            request_id: id("cancel"),
            order_id: order_id.to_owned(),
            reason: "changed my mind".to_owned(),
        };
        let cancelled = self.until(|mut shop| {
            let request = request.clone();
            async move { shop.orders.cancel_order(request).await }
        });
        cancelled.await.map(drop)
    }

    /// A cart is ordered with a coupon; its parcel is sent and delivered.
    async fn orders_a_cart(&self, story: usize) -> Story {
        let add = AddItemRequest {
            request_id: id("add"),
            customer_id: self.name.clone(),
            sku: self.sku(story % 2),
            quantity: 3,
            ..AddItemRequest::default()
        };
        let added = self.until(|mut shop| {
            let add = add.clone();
            async move { shop.carts.add_item(add).await }
        });
        added.await.map_err(|status| said(&status))?;
        let request = CheckoutRequest {
            request_id: id("checkout"),
            customer_id: self.name.clone(),
            issued_coupon_id: self.coupon().await?,
            reservation_mode: ReservationMode::Immediate.into(),
            ..CheckoutRequest::default()
        };
        let made = self.until(|mut shop| {
            let request = request.clone();
            async move { shop.carts.checkout(request).await }
        });
        let order = made.await.map_err(|status| said(&status))?.order.unwrap_or_default();
        self.accepted(&request.request_id, &order.order_id);
        self.until_status(&order.order_id, OrderStatus::Preparing).await?;
        for state in [ShipmentState::Shipped, ShipmentState::Delivered] {
            let request = UpdateShipmentRequest {
                request_id: id("parcel"),
                order_id: order.order_id.clone(),
                state: state.into(),
                ..UpdateShipmentRequest::default()
            };
            let moved = self.until(|mut shop| {
                let request = request.clone();
                async move { shop.shipments.update_shipment(request).await }
            });
            moved.await.map_err(|status| said(&status))?;
        }
        self.told().delivered.push(order.order_id.clone());
        // What was ordered has left the cart by then, or does soon: nothing of it is ordered twice.
        self.until_cart_is_empty().await
    }

    async fn until_cart_is_empty(&self) -> Story {
        let began = Instant::now();
        loop {
            let found = self.until(|mut shop| {
                let request = GetCartRequest { customer_id: self.name.clone(), ..GetCartRequest::default() };
                async move { shop.carts.get_cart(request).await }
            });
            let cart = found.await.map_err(|status| said(&status))?.cart.unwrap_or_default();
            if cart.lines.is_empty() {
                return Ok(());
            }
            if began.elapsed() > STEP_BOUND {
                return Err(format!("what was ordered stays in the cart: {:?}", cart.lines));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn pays_by_hand(&self) -> Story {
        let order = self.create(self.request(0, 2, PaymentMode::Manual)).await.map_err(|status| said(&status))?;
        self.until_status(&order.order_id, OrderStatus::Confirmed).await?;
        self.pay(&order.order_id).await.map_err(|status| said(&status))?;
        self.until_status(&order.order_id, OrderStatus::Preparing).await.map(drop)
    }

    /// Other lines, or those of before; then it is paid.
    async fn changes_an_order(&self) -> Story {
        let order = self.create(self.request(0, 2, PaymentMode::Manual)).await.map_err(|status| said(&status))?;
        let order = self.until_status(&order.order_id, OrderStatus::Confirmed).await?;
        let request = ModifyOrderRequest {
            request_id: id("modify"),
            order_id: order.order_id.clone(),
            expected_version: order.version,
            lines: vec![RequestedLine { sku: self.sku(1), quantity: 1 }],
            expected_total: None,
        };
        let asked = self.until(|mut shop| {
            let request = request.clone();
            async move { shop.orders.modify_order(request).await }
        });
        asked.await.map_err(|status| said(&status))?;
        let is_decided = |order: &Order| {
            order.modification.as_ref().is_some_and(|one| one.state() != OrderModificationState::Requested)
        };
        let order = self.until_it(&order.order_id, is_decided).await?;
        self.pay(&order.order_id).await.map_err(|status| said(&status))?;
        self.until_status(&order.order_id, OrderStatus::Preparing).await.map(drop)
    }

    async fn calls_off(&self) -> Story {
        let request =
            CreateOrderRequest { issued_coupon_id: self.coupon().await?, ..self.request(1, 1, PaymentMode::Automatic) };
        let order = self.create(request).await.map_err(|status| said(&status))?;
        self.cancel(&order.order_id).await.map_err(|status| said(&status))?;
        self.until_status(&order.order_id, OrderStatus::Cancelled).await.map(drop)
    }

    /// It is there or it is sold out, and who is refused has an order that says so, or none.
    async fn wants_what_is_scarce(&self) -> Story {
        let request = CreateOrderRequest {
            reservation_mode: ReservationMode::Immediate.into(),
            ..self.request(2, 1, PaymentMode::Automatic)
        };
        let request_id = request.request_id.clone();
        let refused = match self.create(request).await {
            Ok(_) => return Ok(()),
            Err(status) => status,
        };
        let info = refused.get_details_error_info().filter(|info| info.reason == "OUT_OF_STOCK");
        let Some(info) = info.filter(|_| refused.code() == Code::FailedPrecondition) else {
            return Err(said(&refused));
        };
        self.told().sold_out += 1;
        if let Some(order_id) = info.metadata.get("order_id") {
            self.accepted(&request_id, order_id);
        }
        Ok(())
    }

    /// One of both comes first; the other one is told so, or is undone.
    async fn pays_and_calls_off(&self) -> Story {
        let order = self.create(self.request(1, 1, PaymentMode::Manual)).await.map_err(|status| said(&status))?;
        self.until_status(&order.order_id, OrderStatus::Confirmed).await?;
        let (paid, cancelled) = tokio::join!(self.pay(&order.order_id), self.cancel(&order.order_id));
        for refused in [paid.err(), cancelled.err()].into_iter().flatten() {
            if refused.code() != Code::FailedPrecondition {
                return Err(said(&refused));
            }
        }
        let ends = [OrderStatus::Preparing, OrderStatus::Cancelled];
        self.until_it(&order.order_id, |order| ends.contains(&order.status())).await.map(drop)
    }
}

fn said(status: &Status) -> String {
    format!("{:?} {}", status.code(), status.message())
}

/// What the customers know, against what the system holds.
async fn judged(fleet: &Fleet, street: &Street, mut told: Told) -> Outcome {
    let shop = fleet.shop();
    // What is still under way may be rejected.
    Outcome::at_end(fleet, &street.names, Ledger::default()).await;
    let refused = rejected(fleet, &street.names).await;
    // A first try may have made an order after a later one was told that there is nothing: it is rejected as well.
    let unknown: Vec<&String> =
        refused.iter().filter(|order_id| !told.ledger.accepted.values().any(|known| known == *order_id)).collect();
    let (unheard, sold_out) = (unknown.len() as u64, told.sold_out);
    told.ledger.offered += unheard;
    for order_id in unknown {
        told.ledger.accepted.insert(format!("refused {order_id}"), order_id.clone());
    }
    let orders: Vec<String> = told.ledger.accepted.values().cloned().collect();
    let mut outcome = Outcome::at_end(fleet, &street.names, std::mem::take(&mut told.ledger)).await;
    outcome.expect(unheard <= sold_out, format!("{unheard} rejected orders for {sold_out} refusals"));
    let mut spent: BTreeMap<String, i64> = BTreeMap::new();
    let mut scarce = 0;
    for order_id in &orders {
        let order = shop.order(order_id).await;
        if [OrderStatus::Cancelled, OrderStatus::Rejected].contains(&order.status()) {
            continue;
        }
        *spent.entry(order.customer_id.clone()).or_default() += cents(order.total.as_ref());
        let of_scarce = order.lines.iter().filter(|line| line.sku == street.names.sku(2));
        scarce += of_scarce.map(|line| line.quantity).sum::<i32>();
    }
    for number in 0..CUSTOMERS {
        let name = street.names.customer(number);
        let (left, due) = (cents(Some(&shop.balance(&name).await)), MONEY * 100 - spent.get(&name).unwrap_or(&0));
        outcome.expect(left == due, format!("{name} has {left} cents, and should have {due}"));
    }
    let stock = shop.stock(&street.names.sku(2)).await.unwrap_or_default();
    outcome.expect(
        scarce <= SCARCE && stock.reserved_quantity == scarce,
        format!("{scarce} of {SCARCE} pieces are sold, {} are held", stock.reserved_quantity),
    );
    for order_id in &told.delivered {
        let is_delivered = || async {
            let status = shop.order(order_id).await.status();
            (status == OrderStatus::Delivered).then_some(())
        };
        openorder_testing::eventually(&format!("{order_id} is delivered"), STEP_BOUND, is_delivered).await;
    }
    let twice = used_twice(fleet).await;
    outcome.expect(twice == 0, format!("{twice} coupons are used for two orders"));
    for story in ["carts", "paid by hand", "changed", "called off", "scarce", "paid and called off at once"] {
        let times = told.stories.get(story).copied().unwrap_or_default();
        outcome.expect(times > 0, format!("{story}: not once"));
        outcome.notes.push(format!("{times} {story}"));
    }
    outcome
}

fn cents(money: Option<&Money>) -> i64 {
    money.map_or(0, |money| money.units * 100 + i64::from(money.nanos / 10_000_000))
}

/// Rejected orders of the customers.
async fn rejected(fleet: &Fleet, names: &Names) -> Vec<String> {
    let mut connection = fleet.database("order").await;
    sqlx::query_scalar("select order_id::text from orders where customer_id like $1 and status = $2")
        .bind(format!("{}%", names.customers()))
        .bind(OrderStatus::Rejected as i16)
        .fetch_all(&mut connection)
        .await
        .expect("the orders")
}

/// Issued coupons that more than one order holds or has used.
async fn used_twice(fleet: &Fleet) -> i64 {
    let mut connection = fleet.database("promotion").await;
    let held_or_redeemed = "select count(*) from (select from coupon_use where state in (1, 2) \
                            group by issued_coupon_id having count(*) > 1) as twice";
    sqlx::query_scalar(held_or_redeemed).fetch_one(&mut connection).await.expect("the uses of coupons")
}
