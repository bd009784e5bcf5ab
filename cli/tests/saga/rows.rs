//! Rows of orders: what people and instances of the version before see in view `orders`, and what they write there.

use openorder::Role;
use openorder_proto::google::r#type::{Money, PostalAddress};
use openorder_proto::internal::order::v1::{StoredLine, StoredOrder};
use openorder_proto::order::v1::{Order, OrderStatus, RequestedLine};
use openorder_proto::product::v1::CreateProductRequest;
use openorder_testing::eventually;
use prost::Message;
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::shop::{BOUND, MONEY, PRICE, STOCK, Shop, call, id};

/// As the version before locks orders.
const FORMER_LOCK: &str = "select order_id, customer_id, customer_email, reservation_mode, payment_mode, \
    lines::text as lines, currency, total_minor, trace_context, create_time, status, version, status_reason, \
    status_detail, payment_id, saga_step, saga_stock, saga_payment, saga_cause, saga_reason, saga_undo_attempts, \
    saga_releases, saga_refunds, saga_step_time, update_time from orders \
    where order_id = any ($1) order by order_id for update";
/// As the version before writes what changed of them; here, that they were shipped.
const FORMER_UPDATE: &str = "update orders set status = n.status, version = n.version, \
        status_reason = n.status_reason, status_detail = n.status_detail, payment_id = n.payment_id, \
        saga_step = n.saga_step, saga_stock = n.saga_stock, saga_payment = n.saga_payment, saga_cause = n.saga_cause, \
        saga_reason = n.saga_reason, saga_undo_attempts = n.saga_undo_attempts, saga_releases = n.saga_releases, \
        saga_refunds = n.saga_refunds, saga_step_time = n.saga_step_time, update_time = n.update_time \
    from (select unnest($1::uuid[]) as order_id, 25::int2 as status, 5::int8 as version, ''::text as status_reason, \
                 ''::text as status_detail, 'p'::text as payment_id, 3::int2 as saga_step, 7::int2 as saga_stock, \
                 3::int2 as saga_payment, 0::int2 as saga_cause, ''::text as saga_reason, \
                 0::int4 as saga_undo_attempts, 0::int8 as saga_releases, 0::int8 as saga_refunds, \
                 now() as saga_step_time, now() as update_time) as n \
    where orders.order_id = n.order_id";

/// What a row of the view has of an order.
#[derive(Debug, PartialEq)]
struct Shown {
    customer_id: String,
    customer_email: String,
    status: i16,
    version: i64,
    reservation_mode: i16,
    payment_mode: i16,
    currency: Option<String>,
    total_minor: Option<i64>,
    status_reason: String,
    status_detail: String,
    trace: Option<String>,
    lines: serde_json::Value,
}

async fn shown(pool: &PgPool, order_id: &str) -> Shown {
    let sql = "select *, lines::text as line_text, encode(substr(trace_context, 1, 16), 'hex') as trace from orders \
               where order_id = $1";
    let row = sqlx::query(sql).bind(order_id.parse::<Uuid>().unwrap()).fetch_one(pool).await.unwrap();
    Shown {
        customer_id: row.get("customer_id"),
        customer_email: row.get("customer_email"),
        status: row.get("status"),
        version: row.get("version"),
        reservation_mode: row.get("reservation_mode"),
        payment_mode: row.get("payment_mode"),
        currency: row.get("currency"),
        total_minor: row.get("total_minor"),
        status_reason: row.get("status_reason"),
        status_detail: row.get("status_detail"),
        trace: row.get("trace"),
        lines: serde_json::from_str(row.get("line_text")).unwrap(),
    }
}

fn minor(money: Option<&Money>) -> Option<i64> {
    money.map(|money| money.units * 100 + i64::from(money.nanos / 10_000_000))
}

/// What the view has to show of an order.
fn due(order: &Order) -> Shown {
    let currency = |money: Option<&Money>| money.map(|money| money.currency_code.clone());
    let lines = order.lines.iter().map(|line| {
        serde_json::json!({
            "sku": line.sku,
            "display_name": line.display_name,
            "quantity": line.quantity,
            "unit_price_minor": minor(line.unit_price.as_ref()),
            "line_total_minor": minor(line.line_total.as_ref()),
            "currency": currency(line.unit_price.as_ref()),
            "product_number": line.product_number,
        })
    });
    Shown {
        customer_id: order.customer_id.clone(),
        customer_email: order.customer_email.clone(),
        status: i16::try_from(order.status).unwrap(),
        version: order.version,
        reservation_mode: i16::try_from(order.reservation_mode).unwrap(),
        payment_mode: i16::try_from(order.payment_mode).unwrap(),
        currency: currency(order.total.as_ref()),
        total_minor: minor(order.total.as_ref()),
        status_reason: order.status_reason.clone(),
        status_detail: order.status_detail.clone(),
        trace: Some(order.trace_id.clone()).filter(|trace| !trace.is_empty()),
        lines: lines.collect(),
    }
}

/// Makes an order's row the one that an instance of the version before would have inserted.
async fn make_former(pool: &PgPool, order_id: &str) {
    let mut transaction = pool.begin().await.unwrap();
    let order_id: Uuid = order_id.parse().unwrap();
    let statements = [
        "create temporary table kept on commit drop as select * from orders where order_id = $1",
        "delete from customer_order where order_id = $1",
        "insert into orders select * from kept where order_id = $1",
    ];
    for statement in statements {
        let statement = statement.replace("$1", &format!("'{order_id}'"));
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    assert!(!has_body(pool, order_id).await);
}

async fn has_body(pool: &PgPool, order_id: Uuid) -> bool {
    let sql = "select body is not null from customer_order where order_id = $1";
    sqlx::query_scalar(sql).bind(order_id).fetch_one(pool).await.unwrap()
}

/// Coupons and traces are bytes, and an address is a message: none of them is text, whatever bytes it has.
async fn what_is_no_text_does_no_harm(pool: &PgPool) {
    let line = |sku: &str| StoredLine {
        sku: sku.to_owned(),
        display_name: "Größe".to_owned(),
        quantity: 300,
        unit_price_minor_units: Some(1),
        line_total_minor_units: Some(300),
        product_number: 1,
    };
    for byte in [0x00, 0x0a, 0x7f, 0x80, 0xa2, 0xff] {
        let stored = StoredOrder {
            customer_email: "vera@example.com".to_owned(),
            reservation_mode: 1,
            payment_mode: 1,
            currency: "EUR".to_owned(),
            total_minor_units: Some(600),
            trace_context: vec![byte; 25],
            lines: vec![line("one"), line("two")],
            issued_coupon_id: vec![byte; 16],
            shipping_address: Some(PostalAddress {
                region_code: "DE".to_owned(),
                // So long that its length takes two bytes, which are no text.
                address_lines: vec!["ü".repeat(100), "ß".repeat(100)],
                ..PostalAddress::default()
            }),
            payment_window_ms: 60_000,
        };
        let sql = "select customer_email, currency, total_minor, trace_context, json_array_length(lines) as lines, \
                   lines -> 1 ->> 'sku' as sku, order_payment_window_ms($1) as window_ms from order_body($1)";
        let row = sqlx::query(sql).bind(stored.encode_to_vec()).fetch_one(pool).await.unwrap();
        assert_eq!(row.get::<String, _>("customer_email"), stored.customer_email);
        assert_eq!((row.get::<String, _>("currency"), row.get::<i64, _>("total_minor")), (stored.currency, 600));
        assert_eq!(row.get::<Vec<u8>, _>("trace_context"), stored.trace_context);
        assert_eq!((row.get::<i32, _>("lines"), row.get::<String, _>("sku")), (2, "two".to_owned()));
        assert_eq!(row.get::<i64, _>("window_ms"), 60_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_shows_what_orders_are_made_of_and_does_not_let_it_be_changed() {
    let shop = Shop::open(|_| {}).await;
    let pool = PgPool::connect(shop.settings.order.database_url.expose()).await.unwrap();
    what_is_no_text_does_no_harm(&pool).await;
    let name = shop.customer("vera", STOCK, MONEY).await;
    let sku = format!("size-{}", &id()[..8]);
    let product = CreateProductRequest {
        request_id: id(),
        sku: sku.clone(),
        display_name: "Größe \"M\", 中".to_owned(),
        price: Some(Money { currency_code: "EUR".to_owned(), units: 3, nanos: 990_000_000 }),
        initial_stock: STOCK,
        description: String::new(),
    };
    shop.products.clone().create_product(call().request(product)).await.unwrap();
    eventually("a level", BOUND, || async { shop.stock(&sku).await }).await;
    let mut request = shop.request(&name, &name);
    request.customer_email = "vera@example.org".to_owned();
    request.lines.push(RequestedLine { sku, quantity: 2 });
    let made = shop.orders.clone().create_order(call().request(request)).await.unwrap().into_inner().order.unwrap();
    let paid = shop.until(&made.order_id, OrderStatus::Preparing).await;
    assert_eq!(shown(&pool, &made.order_id).await, due(&paid));

    // Without a total, and with something to say of it.
    let mut request = shop.request(&name, &name);
    request.lines.push(RequestedLine { sku: format!("no-{}", id()), quantity: 300 });
    let unknown = shop.orders.clone().create_order(call().request(request)).await.unwrap().into_inner().order.unwrap();
    let rejected = shop.until(&unknown.order_id, OrderStatus::Rejected).await;
    assert_eq!((rejected.total.as_ref(), rejected.status_reason.as_str()), (None, "UNKNOWN_SKU"));
    assert_eq!(shown(&pool, &unknown.order_id).await, due(&rejected));

    for order in [&paid, &rejected] {
        assert!(has_body(&pool, order.order_id.parse().unwrap()).await);
        make_former(&pool, &order.order_id).await;
        assert_eq!(shown(&pool, &order.order_id).await, due(order));
        assert_eq!(shop.get(&order.order_id).await, *order);
    }
    for change in ["customer_email = 'other@example.org'", "total_minor = 1", "lines = '[]'", "customer_id = 'other'"] {
        let sql = sqlx::AssertSqlSafe(format!("update orders set {change}"));
        let refused = sqlx::query(sql).execute(&pool).await.unwrap_err().to_string();
        assert!(refused.contains("does not change"), "{change}: {refused}");
    }
    pool.close().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_either_form_go_their_way_whichever_version_has_them() {
    let mut shop = Shop::open(|_| {}).await;
    let pool = PgPool::connect(shop.settings.order.database_url.expose()).await.unwrap();
    let name = shop.customer("otto", STOCK, MONEY).await;
    shop.stop(Role::Inventory).await;
    let (former, cancelled, slim) =
        (shop.order(&name, &name).await, shop.order(&name, &name).await, shop.order(&name, &name).await);
    for order_id in [&former, &cancelled] {
        let before = shop.get(order_id).await;
        make_former(&pool, order_id).await;
        assert_eq!(shop.get(order_id).await, before);
    }
    shop.start(Role::Inventory).await;
    for order_id in [&former, &cancelled, &slim] {
        let order = shop.until(order_id, OrderStatus::Preparing).await;
        assert_eq!(order.version, 4, "created, confirmed, paid, preparing");
        assert_eq!(shown(&pool, order_id).await, due(&order));
    }
    shop.cancel(&name, &cancelled).await;
    let order = shop.until(&cancelled, OrderStatus::Cancelled).await;
    assert_eq!(
        (order.status_reason.as_str(), order.status_detail.as_str()),
        ("CANCELLED_BY_CUSTOMER", "changed my mind")
    );
    assert_eq!(shown(&pool, &cancelled).await, due(&order));

    let ids: Vec<Uuid> = [&former, &slim].iter().map(|id| id.parse().unwrap()).collect();
    let mut transaction = pool.begin().await.unwrap();
    let locked = sqlx::query(FORMER_LOCK).bind(&ids).fetch_all(&mut *transaction).await.unwrap();
    assert_eq!(locked.len(), 2);
    let elsewhere =
        "select count(*) from (select from customer_order where order_id = any ($1) for update skip locked) as free";
    let free: i64 = sqlx::query_scalar(elsewhere).bind(&ids).fetch_one(&pool).await.unwrap();
    assert_eq!(free, 0, "the rows behind the view are locked");
    let updated = sqlx::query(FORMER_UPDATE).bind(&ids).execute(&mut *transaction).await.unwrap();
    assert_eq!(updated.rows_affected(), 2);
    transaction.commit().await.unwrap();
    for (order_id, is_slim) in [(&former, false), (&slim, true)] {
        let order = shop.get(order_id).await;
        assert_eq!((order.status(), order.version), (OrderStatus::Shipped, 5));
        assert_eq!((order.lines.len(), minor(order.total.as_ref())), (1, Some(PRICE * 100)));
        assert_eq!(shown(&pool, order_id).await, due(&order));
        assert_eq!(has_body(&pool, order_id.parse().unwrap()).await, is_slim);
    }
    pool.close().await;
    shop.close().await;
}
