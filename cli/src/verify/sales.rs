//! Invariant 7: what analytics has counted is what the orders come to, over all time.
//!
//! Two databases are never seen at one moment, and while orders change their sums never agree. So sums that differ are
//! looked at again until the bound has passed: what still differs then, with orders that have been at rest for that long, is
//! told. Within analytics, products and summary agree in one snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use openorder_proto::internal::order::v1::StoredOrder;
use openorder_proto::order::v1::OrderStatus;
use openorder_types::Timestamp;
use sqlx::postgres::PgRow;

use super::Check;
use super::agreement::discount;
use super::database::{Snapshot, column, decoded};
use super::report::Findings;
use super::services::Service;
use super::stock::StoredLine;

/// How often both are looked at again: each look reads all orders.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What was sold in a currency and not given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sold {
    orders: i128,
    quantity: i128,
    minor_units: i128,
}

/// What both sides are compared by.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    by_status: BTreeMap<i32, i128>,
    by_currency: BTreeMap<String, Sold>,
}

/// A stable reason, the id and what does not fit.
type Difference = (&'static str, String, String);

pub(super) async fn check(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + check.settle;
    loop {
        let is_last = tokio::time::Instant::now() >= until;
        let (orders, changed_at, now) = of_orders(check, findings).await?;
        let counted = of_analytics(check, is_last, findings).await?;
        let differences = differences(&orders, &counted);
        if differences.is_empty() || is_last {
            let is_young = changed_at.is_some_and(|changed_at| changed_at > now - check.settle);
            tell(&orders, differences, is_young, findings);
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL.min(check.settle)).await;
    }
}

fn tell(orders: &Sums, differences: Vec<Difference>, is_young: bool, findings: &mut Findings) {
    (0..orders.by_status.len() + orders.by_currency.len()).for_each(|_| findings.checked());
    findings.count("orders", orders.by_status.values().sum());
    for (currency, sold) in &orders.by_currency {
        findings.count(&format!("{currency} minor units sold"), sold.minor_units);
    }
    for (reason, id, detail) in differences {
        if is_young {
            findings.in_flight();
        } else {
            findings.violated(reason, id, detail);
        }
    }
}

fn differences(orders: &Sums, counted: &Sums) -> Vec<Difference> {
    let statuses: BTreeSet<&i32> = orders.by_status.keys().chain(counted.by_status.keys()).collect();
    let of_status = statuses.into_iter().filter_map(|status| {
        let [there, known] = [orders, counted].map(|sums| sums.by_status.get(status).copied().unwrap_or_default());
        let name = OrderStatus::try_from(*status).map_or("unknown", |status| status.as_str_name());
        (there != known).then(|| ("ORDER_COUNT_DIFFERS", name.to_owned(), format!("{there} orders, {known} counted")))
    });
    let currencies: BTreeSet<&String> = orders.by_currency.keys().chain(counted.by_currency.keys()).collect();
    let of_currency = currencies.into_iter().filter_map(|currency| {
        let [there, known] = [orders, counted].map(|sums| sums.by_currency.get(currency).copied().unwrap_or_default());
        let detail = || format!("the orders come to {there:?}, counted are {known:?}");
        (there != known).then(|| ("SALES_DIFFER", currency.clone(), detail()))
    });
    of_status.chain(of_currency).collect()
}

/// What the orders come to, when one last changed, and the time of that.
async fn of_orders(check: &Check<'_>, findings: &mut Findings) -> anyhow::Result<(Sums, Option<Timestamp>, Timestamp)> {
    let mut snapshot = check.databases.snapshot(Service::Order).await?;
    let sql = "select status, update_time, body, coupon, total_minor, currency, lines::text as lines from customer_order \
               order by order_id";
    let mut rows = snapshot.rows(sql).await?;
    let (mut sums, mut changed_at) = (Sums::default(), None);
    // Progress is told of long work; what is checked are the sums.
    let mut quiet = Findings::like(findings);
    while let Some(row) = rows.next(&mut snapshot).await? {
        quiet.checked();
        let status = i32::from(column::<i16>(&row, "status")?);
        changed_at = changed_at.max(Some(column(&row, "update_time")?));
        *sums.by_status.entry(status).or_default() += 1;
        if is_sold(status) {
            let (minor_units, currency, quantity) = carried(&row).with_context(|| Service::Order.database())?;
            let sold = sums.by_currency.entry(currency).or_default();
            sold.orders += 1;
            sold.quantity += i128::from(quantity);
            sold.minor_units += i128::from(minor_units);
        }
    }
    Ok((sums, changed_at, snapshot.now))
}

/// Whether the order was paid and is not called off.
fn is_sold(status: i32) -> bool {
    use OrderStatus::{Delivered, Paid, Preparing, Shipped};
    [Paid, Preparing, Shipped, Delivered].iter().any(|sold| *sold as i32 == status)
}

/// What was paid, in which currency, for how many pieces. A row of the form before has columns for them.
fn carried(row: &PgRow) -> sqlx::Result<(i64, String, i64)> {
    if let Some(body) = column(row, "body")? {
        let body: StoredOrder = decoded(body)?;
        let quantity = body.lines.iter().map(|line| line.quantity).sum();
        // A total is stored before what the coupon takes off.
        let paid = body.total_minor_units.unwrap_or_default() - discount(row)?;
        return Ok((paid, body.currency, quantity));
    }
    let lines: Vec<StoredLine> =
        serde_json::from_str(column(row, "lines")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let minor_units: Option<i64> = column(row, "total_minor")?;
    let currency: Option<String> = column(row, "currency")?;
    let quantity = lines.iter().map(|line| line.quantity).sum();
    Ok((minor_units.unwrap_or_default(), currency.unwrap_or_default(), quantity))
}

/// What analytics has counted; that its own sums agree is judged by the last look.
async fn of_analytics(check: &Check<'_>, is_last: bool, findings: &mut Findings) -> anyhow::Result<Sums> {
    let mut snapshot = check.databases.snapshot(Service::Analytics).await?;
    let by_status = "select status, sum(orders)::text as orders from order_count \
                     where generation = (select generation from generation where state = 1) \
                     group by status having sum(orders) <> 0";
    let mut sums = Sums::default();
    let mut rows = snapshot.rows(by_status).await?;
    while let Some(row) = rows.next(&mut snapshot).await? {
        let status = i32::from(column::<i16>(&row, "status")?);
        sums.by_status.insert(status, number(&row, "orders")?);
    }
    let sales = "select currency, sum(orders - refunded_orders)::text as orders, \
                   sum(quantity - refunded_quantity)::text as quantity, \
                   sum(net_minor - refunded_minor)::text as minor_units from sales \
                 where generation = (select generation from generation where state = 1) group by currency";
    sums.by_currency = by_currency(&mut snapshot, sales).await?;
    let products = "select currency, '0' as orders, sum(quantity)::text as quantity, \
                      sum(revenue_minor)::text as minor_units from product_sales \
                    where generation = (select generation from generation where state = 1) group by currency";
    let products = by_currency(&mut snapshot, products).await?;
    for (currency, sold) in &sums.by_currency {
        let of_products = Sold { orders: sold.orders, ..products.get(currency).copied().unwrap_or_default() };
        if *sold != of_products && is_last {
            let detail = format!("products come to {of_products:?}, the summary to {sold:?}");
            findings.violated("PRODUCTS_DIFFER", currency, detail);
        }
    }
    // What came and went again is nothing.
    sums.by_currency.retain(|_, sold| *sold != Sold::default());
    Ok(sums)
}

async fn by_currency(snapshot: &mut Snapshot, sql: &str) -> anyhow::Result<BTreeMap<String, Sold>> {
    let mut found = BTreeMap::new();
    let mut rows = snapshot.rows(sql).await?;
    while let Some(row) = rows.next(snapshot).await? {
        let sold = Sold {
            orders: number(&row, "orders")?,
            quantity: number(&row, "quantity")?,
            minor_units: number(&row, "minor_units")?,
        };
        found.insert(column(&row, "currency")?, sold);
    }
    Ok(found)
}

/// A sum, which is larger than a number of the database may be.
fn number(row: &PgRow, name: &str) -> anyhow::Result<i128> {
    i128::from_str(column(row, name)?).with_context(|| format!("{name} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(status: OrderStatus, orders: i128, minor_units: i128) -> Sums {
        let sold = Sold { orders, quantity: orders, minor_units };
        Sums {
            by_status: BTreeMap::from([(status as i32, orders)]),
            by_currency: BTreeMap::from([("EUR".to_owned(), sold)]),
        }
    }

    #[test]
    fn each_sum_that_differs_is_named() {
        let there = sums(OrderStatus::Preparing, 2, 300);
        assert!(differences(&there, &sums(OrderStatus::Preparing, 2, 300)).is_empty());
        let other_money = differences(&there, &sums(OrderStatus::Preparing, 2, 299));
        assert_eq!(
            other_money.iter().map(|(reason, id, _)| (*reason, id.as_str())).collect::<Vec<_>>(),
            [("SALES_DIFFER", "EUR")]
        );
        let other_status = differences(&there, &sums(OrderStatus::Cancelled, 2, 300));
        let named: Vec<(&str, &str)> = other_status.iter().map(|(reason, id, _)| (*reason, id.as_str())).collect();
        let reason = "ORDER_COUNT_DIFFERS";
        assert_eq!(named, [(reason, "ORDER_STATUS_PREPARING"), (reason, "ORDER_STATUS_CANCELLED")]);
        assert_eq!(differences(&there, &Sums::default()).len(), 2, "nothing was counted");
    }

    #[test]
    fn what_differs_while_orders_change_is_in_flight() {
        use super::super::report::{Invariant, Report};
        for (is_young, in_flight, violated) in [(true, 1, false), (false, 0, true)] {
            let mut findings = Findings::new(Invariant::Sales, 3);
            let there = sums(OrderStatus::Preparing, 2, 300);
            let differences = differences(&there, &sums(OrderStatus::Preparing, 2, 299));
            tell(&there, differences, is_young, &mut findings);
            let mut report = Report::new(Duration::from_secs(1));
            report.add(findings, None);
            let line = report.lines().remove(0);
            assert!(line.contains(&format!("in flight {in_flight}")), "{line}");
            assert_eq!(line.contains("VIOLATED"), violated, "{line}");
        }
    }
}
