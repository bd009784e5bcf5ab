//! What the orders of the demo need, and what has to be left of it afterwards.

use std::time::Instant;

use openorder_proto::google::r#type::Money;
use openorder_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use openorder_proto::inventory::v1::{GetStockRequest, Stock};
use openorder_proto::notification::v1::notification_service_client::NotificationServiceClient;
use openorder_proto::notification::v1::{ListNotificationsRequest, Notification, NotificationStatus};
use openorder_proto::payment::v1::payment_service_client::PaymentServiceClient;
use openorder_proto::payment::v1::{ChargeWalletRequest, GetWalletRequest};
use openorder_proto::product::v1::CreateProductRequest;
use openorder_proto::product::v1::product_service_client::ProductServiceClient;
use openorder_proto::promotion::v1::promotion_service_client::PromotionServiceClient;
use openorder_proto::promotion::v1::{
    CouponTerms, CreateCouponRequest, IssueCouponRequest, coupon_terms, issue_coupon_request,
};
use openorder_rpc::status::is_not_found;
use uuid::Uuid;

use super::PATIENCE;
use super::people::People;
use super::story::Outcome;
use crate::gateway_client::failed;
use crate::output::{columns, line};
use crate::show::{mark, money};

const DISPLAY_NAME: &str = "Espresso machine";
const INITIAL_STOCK: i32 = 10;
/// 49.90 EUR
const PRICE_CENTS: i64 = 4_990;
/// 200.00 EUR
const BALANCE_CENTS: i64 = 20_000;

/// Pieces of the order that succeeds: 99.80 EUR, and 100.20 EUR are left.
pub(super) const BOUGHT: i32 = 2;
/// Pieces of the order that is sent: 49.90 EUR, less what the coupon takes off.
pub(super) const SENT: i32 = 1;
/// A fifth.
const COUPON_BASIS_POINTS: i32 = 2_000;
/// 39.92 EUR
const SENT_CENTS: i64 = PRICE_CENTS - PRICE_CENTS * COUPON_BASIS_POINTS as i64 / 10_000;
/// More than the stock.
pub(super) const TOO_MANY: i32 = 1_000;
/// 249.50 EUR: in stock, and more than what is left in the wallet.
pub(super) const TOO_DEAR: i32 = 5;

/// What is left of the wallet after the orders that succeed.
const LEFT_CENTS: i64 = BALANCE_CENTS - BOUGHT as i64 * PRICE_CENTS - SENT_CENTS;

// The numbers tell the four stories, and pay the order of the line that is printed at the end.
const _: () = assert!(TOO_MANY > INITIAL_STOCK, "the third order is out of stock");
const _: () = assert!(TOO_DEAR <= INITIAL_STOCK - BOUGHT - SENT, "the fourth order is in stock");
const _: () = assert!(TOO_DEAR as i64 * PRICE_CENTS > LEFT_CENTS, "the fourth order cannot be paid");
const _: () = assert!(LEFT_CENTS >= PRICE_CENTS, "one more piece can be paid");

/// A product, and a customer with money and a coupon: new ones in each run.
pub(super) struct World {
    pub(super) people: People,
    pub(super) sku: String,
    pub(super) issued_coupon_id: String,
}

impl World {
    pub(super) async fn make(people: People) -> anyhow::Result<Self> {
        // The last digits of a version 7 UUID are random; twelve of them do not meet again.
        let run: String = Uuid::now_v7().simple().to_string().chars().skip(20).collect();
        let mut world = Self { people, sku: format!("DEMO-{run}"), issued_coupon_id: String::new() };
        world.make_product().await?;
        world.fill_wallet().await?;
        world.issued_coupon_id = world.issue_coupon(&run).await?;
        Ok(world)
    }

    async fn make_product(&self) -> anyhow::Result<()> {
        let request = CreateProductRequest {
            request_id: format!("{}-product", self.sku),
            sku: self.sku.clone(),
            display_name: DISPLAY_NAME.to_owned(),
            price: Some(euros(PRICE_CENTS)),
            initial_stock: INITIAL_STOCK,
            description: String::new(),
        };
        let made = ProductServiceClient::new(self.people.operator.clone()).create_product(request).await;
        made.map_err(|status| failed("the product could not be made", &status))?;
        line(format_args!("✓ product {}: {DISPLAY_NAME}, {}", self.sku, money(Some(&euros(PRICE_CENTS)))));
        let began = Instant::now();
        let stock = self.stock_when(|_| true).await?;
        anyhow::ensure!(
            stock.is_some(),
            "the stock of the new product did not arrive within {PATIENCE:?}: its event goes from the product service \
             over Kafka to the inventory service. `openorder probe` says what they wait for"
        );
        let millis = began.elapsed().as_millis();
        line(format_args!("✓ stock of {INITIAL_STOCK}, told to the inventory service over Kafka ({millis} ms)"));
        Ok(())
    }

    async fn fill_wallet(&self) -> anyhow::Result<()> {
        let request = ChargeWalletRequest {
            request_id: format!("{}-wallet", self.sku),
            user_id: self.people.customer_id.clone(),
            amount: Some(euros(BALANCE_CENTS)),
        };
        let filled = PaymentServiceClient::new(self.people.customer.clone()).charge_wallet(request).await;
        let filled = filled.map_err(|status| failed("the wallet could not be charged", &status))?.into_inner();
        let balance = filled.wallet.and_then(|wallet| wallet.balance);
        line(format_args!("✓ wallet of the customer: {}", money(balance.as_ref())));
        Ok(())
    }

    async fn issue_coupon(&self, run: &str) -> anyhow::Result<String> {
        let People { operator, customer, customer_id, .. } = &self.people;
        let code = format!("DEMO-{}", run.to_uppercase());
        let request = CreateCouponRequest {
            request_id: format!("{}-coupon", self.sku),
            code: code.clone(),
            display_name: "A fifth off".to_owned(),
            terms: Some(CouponTerms {
                value: Some(coupon_terms::Value::PercentBasisPoints(COUPON_BASIS_POINTS)),
                ..CouponTerms::default()
            }),
            // 2099
            valid_until_time: Some(prost_types::Timestamp { seconds: 4_070_908_800, nanos: 0 }),
            issue_limit: 100,
            ..CreateCouponRequest::default()
        };
        let created = PromotionServiceClient::new(operator.clone()).create_coupon(request).await;
        created.map_err(|status| failed("the coupon could not be made", &status))?;
        let request = IssueCouponRequest {
            request_id: format!("{}-issue", self.sku),
            key: Some(issue_coupon_request::Key::Code(code.clone())),
            user_id: customer_id.clone(),
        };
        let issued = PromotionServiceClient::new(customer.clone()).issue_coupon(request).await;
        let issued = issued.map_err(|status| failed("the coupon could not be issued", &status))?.into_inner();
        let issued = issued.issued_coupon.unwrap_or_default();
        line(format_args!("✓ coupon {code}: a fifth off, number {} of 100 is the customer's", issued.ordinal));
        Ok(issued.issued_coupon_id)
    }

    /// Compares stock and wallet with what the four orders have to leave.
    pub(super) async fn check(&self) -> anyhow::Result<bool> {
        let expected = (INITIAL_STOCK - SENT, BOUGHT, INITIAL_STOCK - SENT - BOUGHT);
        let as_expected =
            |stock: &Stock| (stock.on_hand_quantity, stock.reserved_quantity, stock.available_quantity) == expected;
        let stock = self.stock_when(as_expected).await?.unwrap_or_default();
        line(format_args!(
            "  {} stock: {} on hand, {} reserved for the first order, {} available{}",
            mark(as_expected(&stock)),
            stock.on_hand_quantity,
            stock.reserved_quantity,
            stock.available_quantity,
            unless(as_expected(&stock), || format!(
                "{} on hand, {} reserved, {} available",
                expected.0, expected.1, expected.2
            )),
        ));

        let request = GetWalletRequest { user_id: self.people.customer_id.clone() };
        let wallet = PaymentServiceClient::new(self.people.customer.clone()).get_wallet(request).await;
        let wallet = wallet.map_err(|status| failed("the wallet could not be read", &status))?.into_inner().wallet;
        let balance = wallet.and_then(|wallet| wallet.balance);
        let left = euros(LEFT_CENTS);
        let paid_once = balance.as_ref() == Some(&left);
        line(format_args!(
            "  {} wallet: {}, charged once for each order that succeeded{}",
            mark(paid_once),
            money(balance.as_ref()),
            unless(paid_once, || money(Some(&left))),
        ));
        Ok(as_expected(&stock) && paid_once)
    }

    /// Shows what the customer was told; one message about each order is expected.
    pub(super) async fn show_notifications(&self, orders: &[Outcome]) -> anyhow::Result<bool> {
        let mut client = NotificationServiceClient::new(self.people.customer.clone());
        let until = Instant::now() + PATIENCE;
        let (found, complete) = loop {
            let request = ListNotificationsRequest { user_id: self.people.customer_id.clone(), ..Default::default() };
            let answer = client.list_notifications(request).await;
            let answer = answer.map_err(|status| failed("the notifications could not be read", &status))?;
            let found = answer.into_inner().notifications;
            let sent = |order: &Outcome| {
                let reached =
                    |one: &Notification| one.order_id == order.order_id && one.status() == NotificationStatus::Sent;
                found.iter().any(reached)
            };
            let complete = orders.iter().all(sent);
            if complete || Instant::now() >= until {
                break (found, complete);
            }
            tokio::time::sleep(super::story::POLL_INTERVAL).await;
        };
        line(format_args!("  {} notifications:", mark(complete)));
        columns(&found.iter().rev().map(cells).collect::<Vec<_>>()).iter().for_each(line);
        if !complete {
            line("    one that was SENT is expected for each order: `openorder logs notification` may say why");
        }
        Ok(complete)
    }

    /// The stock once it is as wanted, or as it is when patience ends; none if there is none.
    async fn stock_when(&self, wanted: impl Fn(&Stock) -> bool) -> anyhow::Result<Option<Stock>> {
        let mut client = InventoryServiceClient::new(self.people.operator.clone());
        let until = Instant::now() + PATIENCE;
        loop {
            let stock = match client.get_stock(GetStockRequest { sku: self.sku.clone() }).await {
                Ok(answer) => answer.into_inner().stock,
                Err(status) if is_not_found(&status) => None,
                Err(status) => return Err(failed("the stock could not be read", &status)),
            };
            if stock.as_ref().is_some_and(&wanted) || Instant::now() >= until {
                return Ok(stock);
            }
            tokio::time::sleep(super::story::POLL_INTERVAL).await;
        }
    }
}

fn cells(one: &Notification) -> Vec<String> {
    let word = |name: &'static str, prefix: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    vec![
        format!("      {}", word(one.kind().as_str_name(), "NOTIFICATION_KIND_")),
        word(one.channel().as_str_name(), "NOTIFICATION_CHANNEL_"),
        word(one.status().as_str_name(), "NOTIFICATION_STATUS_"),
        one.masked_recipient.clone(),
        if one.failure_reason.is_empty() { one.subject.clone() } else { one.failure_reason.clone() },
    ]
}

fn unless(expected: bool, other: impl FnOnce() -> String) -> String {
    if expected { String::new() } else { format!("; expected: {}", other()) }
}

fn euros(cents: i64) -> Money {
    // A cent is ten million nanos; below a hundred of them the product fits 32 bits.
    let nanos = i32::try_from(cents % 100 * 10_000_000).unwrap_or_default();
    Money { currency_code: "EUR".to_owned(), units: cents / 100, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_are_exact() {
        assert_eq!(money(Some(&euros(4_990))), "49.90 EUR");
        assert_eq!(money(Some(&euros(20_000))), "200.00 EUR");
        assert_eq!(money(Some(&euros(7))), "0.07 EUR");
    }
}
