//! Table `issued_coupon`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use openorder_messaging::Table;
use openorder_types::{Fault, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Code, IssuedCoupon, IssuedCouponState};

static ISSUED_COUPON: LazyLock<Table<IssuedCoupon>> = LazyLock::new(|| {
    Table::new("issued_coupon", "issued_coupon_id")
        .column("issued_coupon_id", |issued: &IssuedCoupon| issued.issued_coupon_id)
        .column("coupon_id", |issued| issued.coupon_id)
        .column("ordinal", |issued| issued.ordinal)
        .text("user_id", |issued| issued.user_id.as_str())
        .column("issue_time", |issued| issued.issue_time)
        .changing()
        .column("state", |issued| issued.state.number())
        .column("version", |issued| issued.version)
        .column("update_time", |issued| issued.update_time)
        .column("order_id", |issued| issued.order_id)
});

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    pub user_id: Option<UserId>,
    pub coupon_id: Option<Uuid>,
    /// In the state of this number.
    pub state: Option<i16>,
    /// Older than this one: the last of the page before.
    pub before: Option<Uuid>,
}

/// How many of these coupons, which are locked, these users were issued; nothing of who has none.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn count_issued(
    connection: &mut PgConnection,
    coupons: &[Uuid],
    users: &[&str],
) -> Result<HashMap<(Uuid, UserId), i64>, Fault> {
    if coupons.is_empty() || users.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "select coupon_id, user_id, count(*) from issued_coupon where user_id = any ($1) and coupon_id = any ($2) \
         group by coupon_id, user_id",
    )
    .bind(users)
    .bind(coupons)
    .fetch_all(connection)
    .await?;
    let counted = rows.iter().map(|row| {
        let user_id = UserId::parse(row.try_get::<&str, _>(1)?).map_err(Fault::permanent)?;
        Ok(((row.try_get(0)?, user_id), row.try_get(2)?))
    });
    counted.collect()
}

/// Adds what was issued.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn add_issued(connection: &mut PgConnection, issued: &[IssuedCoupon]) -> Result<(), Fault> {
    ISSUED_COUPON.insert(connection, &issued.iter().collect::<Vec<_>>()).await
}

/// Locks these issued coupons, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock_issued(connection: &mut PgConnection, ids: &BTreeSet<Uuid>) -> Result<Vec<IssuedCoupon>, Fault> {
    let rows = ISSUED_COUPON
        .select("from issued_coupon where issued_coupon_id = any ($1) order by issued_coupon_id for update")
        .bind(ids.iter().copied().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(issued).collect()
}

/// Writes what changed of issued coupons, which must be locked.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn save_issued(connection: &mut PgConnection, changed: &[&IssuedCoupon]) -> Result<(), Fault> {
    ISSUED_COUPON.update(connection, changed).await
}

/// A page, the newest first, each with the code of its coupon.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list_issued(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<(IssuedCoupon, Code)>, Fault> {
    let rows = ISSUED_COUPON
        .select(
            ", (select code from coupon where coupon.coupon_id = issued_coupon.coupon_id) as code from issued_coupon \
             where ($1::text is null or user_id = $1) and ($2::uuid is null or coupon_id = $2) \
               and ($3::smallint is null or state = $3) and ($4::uuid is null or issued_coupon_id < $4) \
             order by issued_coupon_id desc limit $5",
        )
        .bind(filter.user_id.as_ref().map(UserId::as_str))
        .bind(filter.coupon_id)
        .bind(filter.state)
        .bind(filter.before)
        .bind(limit)
        .fetch_all(executor)
        .await?;
    let with_code = rows.iter().map(|row| {
        let code = Code::parse(row.try_get::<&str, _>("code")?).map_err(Fault::permanent)?;
        Ok((issued(row)?, code))
    });
    with_code.collect()
}

fn issued(row: &PgRow) -> Result<IssuedCoupon, Fault> {
    let user_id: &str = row.try_get("user_id")?;
    Ok(IssuedCoupon {
        issued_coupon_id: row.try_get("issued_coupon_id")?,
        coupon_id: row.try_get("coupon_id")?,
        user_id: UserId::parse(user_id).map_err(Fault::permanent)?,
        ordinal: row.try_get("ordinal")?,
        state: IssuedCouponState::from_stored(row.try_get("state")?)?,
        version: row.try_get("version")?,
        order_id: row.try_get("order_id")?,
        issue_time: row.try_get("issue_time")?,
        update_time: row.try_get("update_time")?,
    })
}
