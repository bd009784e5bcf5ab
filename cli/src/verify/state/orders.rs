//! Orders.

use openorder_proto::google::r#type::Money as MoneyMessage;
use openorder_proto::internal::order::v1::{StoredCoupon, StoredOrder};
use openorder_proto::order::v1::{
    OrderCancelled, OrderCompensationFailed, OrderCompensationRetried, OrderCompensationSettled, OrderConfirmed,
    OrderCreated, OrderDelivered, OrderLine, OrderModificationRejected, OrderModificationRequested, OrderModified,
    OrderPaid, OrderPreparing, OrderRejected, OrderShipped,
};
use openorder_proto::{event_types, topics};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Event, Fields, Fold, Row, amount};
use crate::verify::database::{column, decoded};
use crate::verify::log::money;

/// An order as its events have made it.
#[derive(Default)]
pub(super) struct Order {
    status: i32,
    customer_id: String,
    customer_email: String,
    /// Before the coupon's discount.
    total: String,
    lines: String,
    /// By line, once it is taken off.
    discounts: String,
    issued_coupon_id: String,
    modes: (i32, i32),
    reason: String,
    detail: String,
    payment_id: String,
}

/// A line of a row of the form before.
#[derive(Deserialize)]
struct StoredLine {
    sku: String,
    display_name: String,
    quantity: i64,
    unit_price_minor: Option<i64>,
    line_total_minor: Option<i64>,
}

impl Order {
    /// What an order carries, as it is stored.
    fn carrying(body: &StoredOrder) -> Self {
        let lines = body.lines.iter().map(|line| {
            let (unit, total) = (line.unit_price_minor_units, line.line_total_minor_units);
            shown(&line.sku, &line.display_name, line.quantity, unit, total)
        });
        Self {
            customer_email: body.customer_email.clone(),
            total: amount(body.total_minor_units.map(|minor| (minor, body.currency.clone()))),
            lines: lines.collect(),
            issued_coupon_id: Uuid::from_slice(&body.issued_coupon_id).map(|id| id.to_string()).unwrap_or_default(),
            modes: (body.reservation_mode, body.payment_mode),
            ..Self::default()
        }
    }

    /// The same of a row of the form before, which has columns for it.
    fn former(row: &PgRow) -> sqlx::Result<Self> {
        let (currency, minor): (Option<String>, Option<i64>) = (column(row, "currency")?, column(row, "total_minor")?);
        let lines: Vec<StoredLine> =
            serde_json::from_str(column(row, "lines")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let lines = lines.iter().map(|line| {
            let (unit, total) = (line.unit_price_minor, line.line_total_minor);
            shown(&line.sku, &line.display_name, line.quantity, unit, total)
        });
        let modes: (i16, i16) = (column(row, "reservation_mode")?, column(row, "payment_mode")?);
        Ok(Self {
            customer_email: column(row, "customer_email")?,
            total: amount(minor.zip(currency)),
            lines: lines.collect(),
            modes: (modes.0.into(), modes.1.into()),
            ..Self::default()
        })
    }
}

impl Fold for Order {
    const NAME: &'static str = "orders";
    const TOPIC: &'static str = topics::ORDER_LIFECYCLE;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select order_id::text as id, status, version, customer_id, \
        coalesce(status_reason, '') as status_reason, coalesce(status_detail, '') as status_detail, \
        coalesce(payment_id, '') as payment_id, body, coupon, \
        customer_email, currency, total_minor, lines::text as lines, reservation_mode, payment_mode \
        from customer_order order by order_id";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let order = Self {
            status: i32::from(column::<i16>(row, "status")?),
            customer_id: column(row, "customer_id")?,
            reason: column(row, "status_reason")?,
            detail: column(row, "status_detail")?,
            payment_id: column(row, "payment_id")?,
            discounts: match column(row, "coupon")? {
                Some(coupon) => discounts_of(&decoded(coupon)?),
                None => String::new(),
            },
            ..match column(row, "body")? {
                Some(body) => Self::carrying(&decoded(body)?),
                None => Self::former(row)?,
            }
        };
        Ok((column(row, "id")?, (column(row, "version")?, order.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        match event.event_type.as_str() {
            event_types::ORDER_CREATED => {
                let created: OrderCreated = event.decode()?;
                self.modes = (created.reservation_mode, created.payment_mode);
                self.lines = lines(&created.lines)?;
                self.total = total(created.total.as_ref())?;
                (self.customer_id, self.customer_email) = (created.customer_id, created.customer_email);
                self.issued_coupon_id = created.issued_coupon_id;
                self.status = created.status;
            }
            event_types::ORDER_CONFIRMED => {
                let confirmed: OrderConfirmed = event.decode()?;
                self.status = confirmed.status;
                self.discounts = discounts(&confirmed.lines)?;
            }
            event_types::ORDER_MODIFICATION_REQUESTED => {
                self.status = event.decode::<OrderModificationRequested>()?.status;
            }
            event_types::ORDER_MODIFIED => {
                let modified: OrderModified = event.decode()?;
                self.status = modified.status;
                self.lines = lines(&modified.lines)?;
                self.total = total(modified.total.as_ref())?;
            }
            event_types::ORDER_MODIFICATION_REJECTED => {
                self.status = event.decode::<OrderModificationRejected>()?.status;
            }
            event_types::ORDER_PAID => {
                let paid: OrderPaid = event.decode()?;
                (self.status, self.payment_id) = (paid.status, paid.payment_id);
            }
            event_types::ORDER_PREPARING => self.status = event.decode::<OrderPreparing>()?.status,
            event_types::ORDER_SHIPPED => self.status = event.decode::<OrderShipped>()?.status,
            event_types::ORDER_DELIVERED => self.status = event.decode::<OrderDelivered>()?.status,
            event_types::ORDER_CANCELLED => {
                let cancelled: OrderCancelled = event.decode()?;
                (self.status, self.reason, self.detail) =
                    (cancelled.status, cancelled.status_reason, cancelled.status_detail);
            }
            event_types::ORDER_REJECTED => {
                let rejected: OrderRejected = event.decode()?;
                (self.status, self.reason, self.detail) =
                    (rejected.status, rejected.status_reason, rejected.status_detail);
            }
            // Their status is the one before: what they say of the saga stands in no column that events make.
            event_types::ORDER_COMPENSATION_FAILED => {
                self.status = event.decode::<OrderCompensationFailed>()?.status;
            }
            event_types::ORDER_COMPENSATION_RETRIED => {
                self.status = event.decode::<OrderCompensationRetried>()?.status;
            }
            event_types::ORDER_COMPENSATION_SETTLED => {
                self.status = event.decode::<OrderCompensationSettled>()?.status;
            }
            other => anyhow::bail!("no such event of an order is known: {other}"),
        }
        Ok(())
    }

    fn fields(self) -> Fields {
        vec![
            ("status", self.status.to_string()),
            ("customer", self.customer_id),
            ("customer_email", self.customer_email),
            ("total", self.total),
            ("lines", self.lines),
            ("discounts", self.discounts),
            ("issued_coupon_id", self.issued_coupon_id),
            ("reservation_mode", self.modes.0.to_string()),
            ("payment_mode", self.modes.1.to_string()),
            ("status_reason", self.reason),
            ("status_detail", self.detail),
            ("payment_id", self.payment_id),
        ]
    }
}

fn total(message: Option<&MoneyMessage>) -> anyhow::Result<String> {
    let money = message.map(|message| money(Some(message))).transpose()?;
    Ok(amount(money.map(|money| (money.minor_units(), money.currency().as_str().to_owned()))))
}

fn lines(lines: &[OrderLine]) -> anyhow::Result<String> {
    let minor = |message: Option<&MoneyMessage>| match message {
        Some(message) => money(Some(message)).map(|money| Some(money.minor_units())),
        None => Ok(None),
    };
    let lines = lines.iter().map(|line| {
        let (unit, total) = (minor(line.unit_price.as_ref())?, minor(line.line_total.as_ref())?);
        Ok(shown(&line.sku, &line.display_name, line.quantity.into(), unit, total))
    });
    lines.collect()
}

/// What the coupon takes off each line, in minor units.
fn discounts(lines: &[OrderLine]) -> anyhow::Result<String> {
    let minor = |line: &OrderLine| match &line.discount {
        Some(discount) => money(Some(discount)).map(|money| format!("{};", money.minor_units())),
        None => Ok("0;".to_owned()),
    };
    lines.iter().map(minor).collect()
}

/// The same, as it is stored.
fn discounts_of(coupon: &StoredCoupon) -> String {
    let all = coupon.line_discounts_minor_units.iter().filter(|_| coupon.applied);
    all.map(|minor| format!("{minor};")).collect()
}

fn shown(sku: &str, display_name: &str, quantity: i64, unit: Option<i64>, total: Option<i64>) -> String {
    format!("{sku:?} {display_name:?} {quantity} {unit:?} {total:?};")
}
