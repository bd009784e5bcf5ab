//! Table `coupon`.

use std::{collections::HashSet, sync::LazyLock};

use openorder_messaging::Table;
use openorder_proto::promotion::v1::CouponTerms;
use openorder_types::Fault;
use prost::Message;
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    domain::{Code, Coupon, CouponKey, DisplayName, IssueLimit, IssueLimitPerUser, Validity},
    present,
};

static COUPON: LazyLock<Table<Coupon>> = LazyLock::new(|| {
    Table::new("coupon", "coupon_id")
        .column("coupon_id", |coupon: &Coupon| coupon.coupon_id)
        .text("code", |coupon| coupon.code.as_str())
        .column("terms", |coupon| present::terms(&coupon.terms).encode_to_vec())
        .column("create_time", |coupon| coupon.create_time)
        .changing()
        .text("display_name", |coupon| coupon.display_name.as_str())
        .column("valid_from_time", |coupon| coupon.validity.from)
        .column("valid_until_time", |coupon| coupon.validity.until)
        .column("issue_limit", |coupon| coupon.issue_limit.get())
        .column("issue_limit_per_user", |coupon| coupon.issue_limit_per_user.get())
        .column("issued_count", |coupon| coupon.issued_count)
        .column("version", |coupon| coupon.version)
        .column("update_time", |coupon| coupon.update_time)
});

/// Ids and codes, each by itself.
fn split(keys: &HashSet<CouponKey>) -> (Vec<Uuid>, Vec<&str>) {
    let ids = keys.iter().filter_map(|key| if let CouponKey::Id(id) = key { Some(*id) } else { None });
    let codes = keys.iter().filter_map(|key| if let CouponKey::Code(code) = key { Some(code.as_str()) } else { None });
    (ids.collect(), codes.collect())
}

/// Locks the coupons with these keys, in one order for all transactions, so that none deadlock.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock_coupons(connection: &mut PgConnection, keys: &HashSet<CouponKey>) -> Result<Vec<Coupon>, Fault> {
    let (ids, codes) = split(keys);
    let rows = COUPON
        .select("from coupon where coupon_id = any ($1) or code = any ($2) order by coupon_id for update")
        .bind(ids)
        .bind(codes)
        .fetch_all(connection)
        .await?;
    rows.iter().map(coupon).collect()
}

/// The coupons with these keys.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_coupons(executor: impl PgExecutor<'_>, keys: &HashSet<CouponKey>) -> Result<Vec<Coupon>, Fault> {
    let (ids, codes) = split(keys);
    let rows = COUPON
        .select("from coupon where coupon_id = any ($1) or code = any ($2)")
        .bind(ids)
        .bind(codes)
        .fetch_all(executor)
        .await?;
    rows.iter().map(coupon).collect()
}

/// A page, the newest first; `before` is the last coupon of the page before.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list_coupons(
    executor: impl PgExecutor<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Coupon>, Fault> {
    let rows = COUPON
        .select("from coupon where ($1::uuid is null or coupon_id < $1) order by coupon_id desc limit $2")
        .bind(before)
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(coupon).collect()
}

/// Writes changed coupons, which must be locked, and new ones, which must not exist.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction took the code of a new one first.
pub async fn save_coupons(connection: &mut PgConnection, new: &[&Coupon], changed: &[&Coupon]) -> Result<(), Fault> {
    COUPON.update(&mut *connection, changed).await?;
    COUPON.insert(connection, new).await
}

fn coupon(row: &PgRow) -> Result<Coupon, Fault> {
    let code: &str = row.try_get("code")?;
    let display_name: &str = row.try_get("display_name")?;
    let terms = CouponTerms::decode(row.try_get::<&[u8], _>("terms")?).map_err(Fault::permanent)?;
    let validity = Validity::parse(row.try_get("valid_from_time")?, row.try_get("valid_until_time")?);
    Ok(Coupon {
        coupon_id: row.try_get("coupon_id")?,
        code: Code::parse(code).map_err(Fault::permanent)?,
        display_name: DisplayName::parse(display_name).map_err(Fault::permanent)?,
        terms: present::parse_terms(&terms).map_err(|(field, error)| Fault::permanent(format!("{field}: {error}")))?,
        validity: validity.map_err(Fault::permanent)?,
        issue_limit: IssueLimit::parse(row.try_get("issue_limit")?).map_err(Fault::permanent)?,
        issue_limit_per_user: IssueLimitPerUser::parse(row.try_get("issue_limit_per_user")?)
            .map_err(Fault::permanent)?,
        issued_count: row.try_get("issued_count")?,
        version: row.try_get("version")?,
        create_time: row.try_get("create_time")?,
        update_time: row.try_get("update_time")?,
    })
}
