//! The rows of the services that belong to an order.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use openorder_proto::internal::history::v1::StoredView;
use openorder_proto::internal::order::v1::{StoredCoupon, StoredOrder};
use openorder_proto::inventory::v1::ReservationState;
use openorder_proto::payment::v1::PaymentState;
use openorder_proto::promotion::v1::CouponUseState;
use openorder_proto::shipping::v1::{Shipment as ShipmentMessage, ShipmentState};
use openorder_types::Timestamp;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::verify::Check;
use crate::verify::database::{Keyed, Snapshot, column, decoded};
use crate::verify::services::Service;
use crate::verify::stock::StoredLine;

/// `saga::Part`.
const PART_SETTLED: i16 = 8;

/// SKUs and pieces.
type Lines = BTreeMap<String, i64>;

/// All that is known of an order.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) order: Option<OrderRow>,
    pub(super) reservation: Option<Reservation>,
    pub(super) payment: Option<Payment>,
    pub(super) shipment: Option<Shipment>,
    pub(super) notifications: Option<Notifications>,
    pub(super) coupon_use: Option<CouponUse>,
    pub(super) view: Option<View>,
}

#[derive(Debug)]
pub(super) struct OrderRow {
    pub(super) status: i32,
    pub(super) version: i64,
    pub(super) step: i16,
    /// Whether an operator stated that stock, money, or a coupon, was put right by hand.
    pub(super) is_settled_by_hand: (bool, bool, bool),
    /// When the order or its saga last changed.
    pub(super) changed_at: Timestamp,
    pub(super) customer_id: String,
    pub(super) payment_id: String,
    /// Minor units and currency; less the discount.
    pub(super) total: Option<(i64, String)>,
    pub(super) lines: Lines,
    /// What its coupon takes off, in minor units; 0 for nothing.
    pub(super) discount_minor_units: i64,
    /// The issued coupon that it names.
    pub(super) issued_coupon_id: Option<Uuid>,
    /// Whether a parcel was asked for: none is where there is no shipping service, and before there was one.
    pub(super) wants_shipment: bool,
}

#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) state: i32,
    pub(super) lines: Lines,
}

#[derive(Debug)]
pub(super) struct Payment {
    pub(super) state: i32,
    pub(super) payment_id: String,
    pub(super) user_id: String,
    pub(super) amount: Option<(i64, String)>,
}

/// What became of its coupon.
#[derive(Debug)]
pub(super) struct CouponUse {
    pub(super) state: i32,
    pub(super) issued_coupon_id: Uuid,
    pub(super) discount_minor_units: i64,
}

impl CouponUse {
    /// Whether the coupon is kept for the order or used by it.
    pub(super) fn is_in_use(&self) -> bool {
        [CouponUseState::Held as i32, CouponUseState::Redeemed as i32].contains(&self.state)
    }

    pub(super) fn state_name(&self) -> &'static str {
        CouponUseState::try_from(self.state).unwrap_or_default().as_str_name()
    }
}

/// The parcel of an order.
#[derive(Debug)]
pub(super) struct Shipment {
    pub(super) state: i32,
    pub(super) customer_id: String,
    pub(super) lines: Lines,
    /// When it last changed.
    pub(super) changed_at: Timestamp,
}

/// What the customer was told of; a kind once for each channel.
#[derive(Debug)]
pub(super) struct Notifications {
    pub(super) kinds: Vec<i16>,
}

impl OrderRow {
    /// Whether it costs nothing.
    pub(super) fn is_free(&self) -> bool {
        self.total.as_ref().is_some_and(|(minor_units, _)| *minor_units == 0)
    }
}

/// The document of an order.
#[derive(Debug)]
pub(super) struct View {
    pub(super) status: i32,
    pub(super) order_version: i64,
    pub(super) customer_id: String,
    pub(super) total: Option<(i64, String)>,
    pub(super) payment_state: i32,
}

impl Reservation {
    /// Whether pieces are held now.
    pub(super) fn is_held(&self) -> bool {
        self.state == ReservationState::Held as i32
    }

    /// Whether pieces are held or have left.
    pub(super) fn holds(&self) -> bool {
        self.is_held() || self.state == ReservationState::Shipped as i32
    }

    pub(super) fn state_name(&self) -> &'static str {
        ReservationState::try_from(self.state).unwrap_or_default().as_str_name()
    }
}

impl Payment {
    /// Whether money was taken and not given back.
    pub(super) fn is_taken(&self) -> bool {
        self.state == PaymentState::Completed as i32
    }

    pub(super) fn state_name(&self) -> &'static str {
        PaymentState::try_from(self.state).unwrap_or_default().as_str_name()
    }
}

impl Shipment {
    /// Whether there is a parcel.
    pub(super) fn is_parcel(&self) -> bool {
        self.state != ShipmentState::Cancelled as i32
    }

    pub(super) fn state_name(&self) -> &'static str {
        ShipmentState::try_from(self.state).unwrap_or_default().as_str_name()
    }
}

/// A query for a table's rows, all of them or those of some orders.
macro_rules! sql {
    ($columns:literal, $table:literal, $rest:literal) => {
        (
            concat!("select ", $columns, " from ", $table, " ", $rest, " order by order_id"),
            concat!("select ", $columns, " from ", $table, " where order_id = any ($1) ", $rest),
        )
    };
}

const ORDERS: (&str, &str) = sql!(
    "order_id, status, version, saga_step, saga_stock, saga_payment, saga_coupon, saga_shipment, coupon, greatest(update_time, saga_step_time) as changed_at, customer_id, \
     coalesce(payment_id, '') as payment_id, body, total_minor, currency, lines::text as lines",
    "customer_order",
    ""
);
const RESERVATIONS: (&str, &str) = sql!("order_id, state, lines::text as lines", "reservation", "");
const PAYMENTS: (&str, &str) =
    sql!("order_id, state, payment_id::text as payment_id, user_id, amount_minor_units, currency", "payment", "");
const COUPON_USES: (&str, &str) =
    sql!("order_id, issued_coupon_id, state, coalesce(discount_minor, 0) as discount_minor", "coupon_use", "");
const SHIPMENTS: (&str, &str) = sql!("order_id, state, customer_id, body, update_time", "shipment", "");
const NOTIFICATIONS: (&str, &str) = sql!("order_id, array_agg(kind) as kinds", "notification", "group by order_id");

/// Of the half that is in use.
macro_rules! views {
    ($rest:literal, $order:literal) => {
        concat!(
            "select order_id, status, order_version, customer_id, currency, total_minor, body from order_view_a \
             where create_time is not null and (select current from view_set) = 0 ",
            $rest,
            " union all \
             select order_id, status, order_version, customer_id, currency, total_minor, body from order_view_b \
             where create_time is not null and (select current from view_set) = 1 ",
            $rest,
            $order
        )
    };
}

const VIEWS: (&str, &str) = (views!("", " order by order_id"), views!("and order_id = any ($1)", ""));

fn lines(row: &PgRow) -> sqlx::Result<Lines> {
    let stored: Vec<StoredLine> =
        serde_json::from_str(column(row, "lines")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let mut lines = Lines::new();
    for line in stored {
        *lines.entry(line.sku).or_default() += line.quantity;
    }
    Ok(lines)
}

/// Minor units and currency.
type Amount = (i64, String);

/// What an order costs before its coupon, its lines and the coupon. A row of the form before has columns for them.
fn carried(row: &PgRow) -> sqlx::Result<(Option<Amount>, Lines, Option<Uuid>)> {
    let Some(body) = column(row, "body")? else {
        let (minor, currency): (Option<i64>, Option<String>) = (column(row, "total_minor")?, column(row, "currency")?);
        return Ok((minor.zip(currency), lines(row)?, None));
    };
    let body: StoredOrder = decoded(body)?;
    let mut lines = Lines::new();
    for line in body.lines {
        *lines.entry(line.sku).or_default() += line.quantity;
    }
    let issued_coupon_id = Uuid::from_slice(&body.issued_coupon_id).ok();
    Ok((body.total_minor_units.map(|minor| (minor, body.currency)), lines, issued_coupon_id))
}

/// What is taken off an order, in minor units.
pub(in crate::verify) fn discount(row: &PgRow) -> sqlx::Result<i64> {
    let Some(coupon) = column(row, "coupon")? else { return Ok(0) };
    let coupon: StoredCoupon = decoded(coupon)?;
    Ok(if coupon.applied { coupon.line_discounts_minor_units.iter().sum() } else { 0 })
}

fn order(row: &PgRow) -> sqlx::Result<(Uuid, OrderRow)> {
    let (total, lines, issued_coupon_id) = carried(row)?;
    let discount_minor_units = discount(row)?;
    let order = OrderRow {
        status: i32::from(column::<i16>(row, "status")?),
        version: column(row, "version")?,
        step: column(row, "saga_step")?,
        is_settled_by_hand: (
            column::<i16>(row, "saga_stock")? == PART_SETTLED,
            column::<i16>(row, "saga_payment")? == PART_SETTLED,
            column::<Option<i16>>(row, "saga_coupon")? == Some(PART_SETTLED),
        ),
        changed_at: column(row, "changed_at")?,
        customer_id: column(row, "customer_id")?,
        payment_id: column(row, "payment_id")?,
        total: total.map(|(minor, currency)| (minor - discount_minor_units, currency)),
        lines,
        discount_minor_units,
        issued_coupon_id,
        wants_shipment: column::<Option<i16>>(row, "saga_shipment")?.is_some(),
    };
    Ok((column(row, "order_id")?, order))
}

fn reservation(row: &PgRow) -> sqlx::Result<(Uuid, Reservation)> {
    let state = i32::from(column::<i16>(row, "state")?);
    Ok((column(row, "order_id")?, Reservation { state, lines: lines(row)? }))
}

fn payment(row: &PgRow) -> sqlx::Result<(Uuid, Payment)> {
    let (minor, currency): (Option<i64>, Option<String>) =
        (column(row, "amount_minor_units")?, column(row, "currency")?);
    let payment = Payment {
        state: i32::from(column::<i16>(row, "state")?),
        payment_id: column(row, "payment_id")?,
        user_id: column(row, "user_id")?,
        amount: minor.zip(currency),
    };
    Ok((column(row, "order_id")?, payment))
}

fn shipment(row: &PgRow) -> sqlx::Result<(Uuid, Shipment)> {
    let body: ShipmentMessage = decoded(column(row, "body")?)?;
    let mut lines = Lines::new();
    for line in body.lines {
        *lines.entry(line.sku).or_default() += i64::from(line.quantity);
    }
    let shipment = Shipment {
        state: i32::from(column::<i16>(row, "state")?),
        customer_id: column(row, "customer_id")?,
        lines,
        changed_at: column(row, "update_time")?,
    };
    Ok((column(row, "order_id")?, shipment))
}

fn notifications(row: &PgRow) -> sqlx::Result<(Uuid, Notifications)> {
    Ok((column(row, "order_id")?, Notifications { kinds: column(row, "kinds")? }))
}

fn coupon_use(row: &PgRow) -> sqlx::Result<(Uuid, CouponUse)> {
    let used = CouponUse {
        state: i32::from(column::<i16>(row, "state")?),
        issued_coupon_id: column(row, "issued_coupon_id")?,
        discount_minor_units: column(row, "discount_minor")?,
    };
    Ok((column(row, "order_id")?, used))
}

fn view(row: &PgRow) -> sqlx::Result<(Uuid, View)> {
    let (minor, currency): (Option<i64>, Option<String>) = (column(row, "total_minor")?, column(row, "currency")?);
    let body: StoredView = decoded(column(row, "body")?)?;
    let view = View {
        status: column(row, "status")?,
        order_version: column(row, "order_version")?,
        customer_id: column(row, "customer_id")?,
        total: minor.zip(currency),
        payment_state: body.payment.map_or(0, |payment| payment.state),
    };
    Ok((column(row, "order_id")?, view))
}

/// The databases, each at its moment; the orders' comes first.
pub(super) struct Sources {
    pub(super) order: Snapshot,
    pub(super) inventory: Snapshot,
    pub(super) payment: Snapshot,
    pub(super) shipping: Snapshot,
    pub(super) notification: Snapshot,
    pub(super) promotion: Snapshot,
    pub(super) history: Snapshot,
}

impl Sources {
    pub(super) async fn open(check: &Check<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            order: check.databases.snapshot(Service::Order).await?,
            inventory: check.databases.snapshot(Service::Inventory).await?,
            payment: check.databases.snapshot(Service::Payment).await?,
            shipping: check.databases.snapshot(Service::Shipping).await?,
            notification: check.databases.snapshot(Service::Notification).await?,
            promotion: check.databases.snapshot(Service::Promotion).await?,
            history: check.databases.snapshot(Service::History).await?,
        })
    }
}

/// Their tables, in the order of the orders' ids.
pub(super) struct Tables {
    pub(super) orders: Keyed<Uuid, OrderRow>,
    pub(super) reservations: Keyed<Uuid, Reservation>,
    pub(super) payments: Keyed<Uuid, Payment>,
    pub(super) shipments: Keyed<Uuid, Shipment>,
    pub(super) notifications: Keyed<Uuid, Notifications>,
    pub(super) coupon_uses: Keyed<Uuid, CouponUse>,
    pub(super) views: Keyed<Uuid, View>,
}

impl Tables {
    pub(super) async fn read(sources: &mut Sources) -> anyhow::Result<Self> {
        Ok(Self {
            orders: Keyed::read(&mut sources.order, ORDERS.0, order).await?,
            reservations: Keyed::read(&mut sources.inventory, RESERVATIONS.0, reservation).await?,
            payments: Keyed::read(&mut sources.payment, PAYMENTS.0, payment).await?,
            shipments: Keyed::read(&mut sources.shipping, SHIPMENTS.0, shipment).await?,
            notifications: Keyed::read(&mut sources.notification, NOTIFICATIONS.0, notifications).await?,
            coupon_uses: Keyed::read(&mut sources.promotion, COUPON_USES.0, coupon_use).await?,
            views: Keyed::read(&mut sources.history, VIEWS.0, view).await?,
        })
    }
}

/// These orders as they stand now, the others' rows read before the orders' own; and the time of that.
pub(super) async fn at(check: &Check<'_>, orders: &[Uuid]) -> anyhow::Result<(Vec<Rows>, Timestamp)> {
    let (mut views, _) = some(check, Service::History, VIEWS.1, orders, view).await?;
    let (mut reservations, _) = some(check, Service::Inventory, RESERVATIONS.1, orders, reservation).await?;
    let (mut payments, _) = some(check, Service::Payment, PAYMENTS.1, orders, payment).await?;
    let (mut shipments, _) = some(check, Service::Shipping, SHIPMENTS.1, orders, shipment).await?;
    let (mut by_order, _) = some(check, Service::Notification, NOTIFICATIONS.1, orders, notifications).await?;
    let (mut coupon_uses, _) = some(check, Service::Promotion, COUPON_USES.1, orders, coupon_use).await?;
    let (mut found, now) = some(check, Service::Order, ORDERS.1, orders, order).await?;
    let rows = orders.iter().map(|id| Rows {
        order: found.remove(id),
        reservation: reservations.remove(id),
        payment: payments.remove(id),
        shipment: shipments.remove(id),
        notifications: by_order.remove(id),
        coupon_use: coupon_uses.remove(id),
        view: views.remove(id),
    });
    Ok((rows.collect(), now))
}

async fn some<T>(
    check: &Check<'_>,
    service: Service,
    sql: &'static str,
    orders: &[Uuid],
    read: fn(&PgRow) -> sqlx::Result<(Uuid, T)>,
) -> anyhow::Result<(HashMap<Uuid, T>, Timestamp)> {
    let mut snapshot = check.databases.snapshot(service).await?;
    let rows = sqlx::query(sql).bind(orders).fetch_all(&mut snapshot.connection).await;
    let rows = rows.with_context(|| service.database())?;
    let rows: sqlx::Result<HashMap<Uuid, T>> = rows.iter().map(read).collect();
    Ok((rows.with_context(|| service.database())?, snapshot.now))
}
