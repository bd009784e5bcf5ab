//! Table `coupon_use`.

use std::{collections::BTreeSet, sync::LazyLock};

use openorder_messaging::Table;
use openorder_proto::promotion::v1::CouponUse as CouponUseMessage;
use openorder_rpc::{money_from_proto, money_to_proto};
use openorder_types::{Fault, Money, UserId};
use prost::Message;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{CouponUse, RefusalReason, UseState};

static COUPON_USE: LazyLock<Table<CouponUse>> = LazyLock::new(|| {
    Table::new("coupon_use", "order_id")
        .column("order_id", |one: &CouponUse| one.order_id)
        .column("issued_coupon_id", |one| one.issued_coupon_id)
        .text("user_id", |one| one.user_id.as_str())
        .column("reason", |one| one.reason.map(RefusalReason::number))
        .column("discount_minor", |one| one.discount().map(|discount| discount.minor_units()))
        .column("currency", |one| one.discount().map(|discount| discount.currency().as_str().to_owned()))
        .column("line_discounts", |one| (!one.line_discounts.is_empty()).then(|| encode(&one.line_discounts)))
        .column("create_time", |one| one.create_time)
        .changing()
        .column("state", |one| one.state.number())
        .column("version", |one| one.version)
        .column("update_time", |one| one.update_time)
});

fn encode(parts: &[Money]) -> Vec<u8> {
    let line_discounts = parts.iter().map(money_to_proto).collect();
    CouponUseMessage { line_discounts, ..CouponUseMessage::default() }.encode_to_vec()
}

fn decode(bytes: &[u8]) -> Result<Vec<Money>, Fault> {
    let parts = CouponUseMessage::decode(bytes).map_err(Fault::permanent)?.line_discounts;
    parts.iter().map(|part| money_from_proto(part).map_err(Fault::permanent)).collect()
}

/// Locks what is known of the uses of coupons by these orders, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock_uses(connection: &mut PgConnection, orders: &BTreeSet<Uuid>) -> Result<Vec<CouponUse>, Fault> {
    let rows = COUPON_USE
        .select("from coupon_use where order_id = any ($1) order by order_id for update")
        .bind(orders.iter().copied().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(coupon_use).collect()
}

/// Writes new uses, which must not exist, and what changed of those that do, which must be locked.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction decided on a new one first.
pub async fn save_uses(connection: &mut PgConnection, new: &[&CouponUse], changed: &[&CouponUse]) -> Result<(), Fault> {
    COUPON_USE.update(&mut *connection, changed).await?;
    COUPON_USE.insert(connection, new).await
}

fn coupon_use(row: &PgRow) -> Result<CouponUse, Fault> {
    let user_id: &str = row.try_get("user_id")?;
    let reason: Option<i16> = row.try_get("reason")?;
    let parts: Option<&[u8]> = row.try_get("line_discounts")?;
    Ok(CouponUse {
        order_id: row.try_get("order_id")?,
        user_id: UserId::parse(user_id).map_err(Fault::permanent)?,
        issued_coupon_id: row.try_get("issued_coupon_id")?,
        state: UseState::from_stored(row.try_get("state")?)?,
        reason: reason.map(RefusalReason::from_stored).transpose()?,
        line_discounts: parts.map_or(Ok(Vec::new()), decode)?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    })
}
