//! A client that sells, generated from the protos, as a user's would be.

use openorder_proto::{
    analytics::v1::analytics_service_client::AnalyticsServiceClient,
    cart::v1::cart_service_client::CartServiceClient,
    google::r#type::Money,
    history::v1::history_service_client::HistoryServiceClient,
    inventory::v1::{GetStockRequest, Stock, inventory_service_client::InventoryServiceClient},
    notification::v1::notification_service_client::NotificationServiceClient,
    order::v1::{
        CreateOrderRequest, GetOrderRequest, Order, OrderStatus, RequestedLine,
        order_service_client::OrderServiceClient,
    },
    payment::v1::{ChargeWalletRequest, GetWalletRequest, Wallet, payment_service_client::PaymentServiceClient},
    product::v1::{CreateProductRequest, Product, product_service_client::ProductServiceClient},
    promotion::v1::{
        Coupon, CouponTerms, CreateCouponRequest, IssueCouponRequest, IssuedCoupon, coupon_terms, issue_coupon_request,
        promotion_service_client::PromotionServiceClient,
    },
    shipping::v1::shipping_service_client::ShippingServiceClient,
};
use tonic::{Status, transport::Channel};

use crate::deployment::PATIENCE;

/// Clients of all services behind the gateway.
#[derive(Clone)]
pub struct Shop {
    /// Orders.
    pub orders: OrderServiceClient<Channel>,
    /// Catalogue.
    pub products: ProductServiceClient<Channel>,
    /// Stock.
    pub inventory: InventoryServiceClient<Channel>,
    /// Wallets and payments.
    pub payments: PaymentServiceClient<Channel>,
    /// Messages to customers.
    pub notifications: NotificationServiceClient<Channel>,
    /// What is sold.
    pub analytics: AnalyticsServiceClient<Channel>,
    /// Coupons.
    pub promotions: PromotionServiceClient<Channel>,
    /// Parcels.
    pub shipments: ShippingServiceClient<Channel>,
    /// Orders with everything that became of them.
    pub history: HistoryServiceClient<Channel>,
    /// What customers mean to order.
    pub carts: CartServiceClient<Channel>,
}

/// A new id with a readable beginning.
pub fn id(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// Euros and cents.
pub fn eur(units: i64, cents: i32) -> Money {
    Money { currency_code: "EUR".to_owned(), units, nanos: cents * 10_000_000 }
}

impl Shop {
    /// Clients over one connection.
    pub fn new(channel: Channel) -> Self {
        Self {
            orders: OrderServiceClient::new(channel.clone()),
            products: ProductServiceClient::new(channel.clone()),
            inventory: InventoryServiceClient::new(channel.clone()),
            payments: PaymentServiceClient::new(channel.clone()),
            notifications: NotificationServiceClient::new(channel.clone()),
            analytics: AnalyticsServiceClient::new(channel.clone()),
            promotions: PromotionServiceClient::new(channel.clone()),
            shipments: ShippingServiceClient::new(channel.clone()),
            history: HistoryServiceClient::new(channel.clone()),
            carts: CartServiceClient::new(channel),
        }
    }

    /// A product with a stock.
    pub async fn product(&self, sku: &str, price: Money, initial_stock: i32) -> Product {
        let request = CreateProductRequest {
            request_id: id("product"),
            sku: sku.to_owned(),
            display_name: format!("The {sku}"),
            price: Some(price),
            initial_stock,
            ..Default::default()
        };
        let answer = self.products.clone().create_product(request).await.expect("a product");
        answer.into_inner().product.expect("a product")
    }

    /// A coupon of ten percent that may be issued so often, in all and to one user.
    pub async fn coupon(&self, code: &str, issue_limit: i32, issue_limit_per_user: i32) -> Coupon {
        let value = Some(coupon_terms::Value::PercentBasisPoints(1_000));
        let request = CreateCouponRequest {
            request_id: id("coupon"),
            code: code.to_owned(),
            display_name: format!("The {code}"),
            terms: Some(CouponTerms { value, ..Default::default() }),
            valid_until_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
            issue_limit,
            issue_limit_per_user,
            ..Default::default()
        };
        let answer = self.promotions.clone().create_coupon(request).await.expect("a coupon");
        answer.into_inner().coupon.expect("a coupon")
    }

    /// A coupon for a user.
    ///
    /// # Errors
    /// Why the user gets none.
    pub async fn issue(&self, code: &str, user_id: &str) -> Result<IssuedCoupon, Status> {
        self.issue_as(&id("issue"), code, user_id).await
    }

    /// The same, under this request id.
    ///
    /// # Errors
    /// Why the user gets none.
    pub async fn issue_as(&self, request_id: &str, code: &str, user_id: &str) -> Result<IssuedCoupon, Status> {
        let key = Some(issue_coupon_request::Key::Code(code.to_owned()));
        let request = IssueCouponRequest { request_id: request_id.to_owned(), key, user_id: user_id.to_owned() };
        let answer = self.promotions.clone().issue_coupon(request).await?;
        Ok(answer.into_inner().issued_coupon.expect("an issued coupon"))
    }

    /// A wallet with money in it.
    pub async fn charge(&self, user_id: &str, amount: Money) -> Wallet {
        let request =
            ChargeWalletRequest { request_id: id("charge"), user_id: user_id.to_owned(), amount: Some(amount) };
        let answer = self.payments.clone().charge_wallet(request).await.expect("a charge");
        answer.into_inner().wallet.expect("a wallet")
    }

    /// A request for one line.
    pub fn request(customer: &str, sku: &str, quantity: i32) -> CreateOrderRequest {
        CreateOrderRequest {
            request_id: id("order"),
            customer_id: customer.to_owned(),
            customer_email: format!("{customer}@example.com"),
            lines: vec![RequestedLine { sku: sku.to_owned(), quantity }],
            ..Default::default()
        }
    }

    /// Orders, and gives the answer as it came.
    pub async fn create(&self, request: CreateOrderRequest) -> Result<Order, Status> {
        let answer = self.orders.clone().create_order(request).await?;
        Ok(answer.into_inner().order.expect("an order"))
    }

    /// The order as it stands.
    pub async fn order(&self, order_id: &str) -> Order {
        let request = GetOrderRequest { order_id: order_id.to_owned() };
        let answer = self.orders.clone().get_order(request).await.expect("the order");
        answer.into_inner().order.expect("an order")
    }

    /// Waits until the order stands at `status`.
    pub async fn until(&self, order_id: &str, status: OrderStatus) -> Order {
        let what = format!("order {order_id} is {}", status.as_str_name());
        openorder_testing::eventually(&what, PATIENCE, || async {
            let order = self.order(order_id).await;
            let settled = [OrderStatus::Cancelled, OrderStatus::Rejected].contains(&order.status());
            assert!(!settled || order.status() == status, "{what}: but it is {order:?}");
            (order.status() == status).then_some(order)
        })
        .await
    }

    /// Stock as it stands; none while the SKU is not known there.
    pub async fn stock(&self, sku: &str) -> Option<Stock> {
        let answer = self.inventory.clone().get_stock(GetStockRequest { sku: sku.to_owned() }).await.ok()?;
        answer.into_inner().stock
    }

    /// Waits until the SKU has this much on hand and held.
    pub async fn stock_is(&self, sku: &str, on_hand: i32, reserved: i32) {
        let what = format!("{sku}: {on_hand} on hand, {reserved} reserved");
        openorder_testing::eventually(&what, PATIENCE, || async {
            let stock = self.stock(sku).await?;
            assert_eq!(stock.available_quantity, stock.on_hand_quantity - stock.reserved_quantity);
            (stock.on_hand_quantity == on_hand && stock.reserved_quantity == reserved).then_some(())
        })
        .await;
    }

    /// What is in a wallet.
    pub async fn balance(&self, user_id: &str) -> Money {
        let answer = self.payments.clone().get_wallet(GetWalletRequest { user_id: user_id.to_owned() }).await;
        answer.expect("the wallet").into_inner().wallet.expect("a wallet").balance.expect("a balance")
    }
}
