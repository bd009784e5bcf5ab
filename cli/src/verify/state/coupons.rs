//! Coupons, and those that users have.

use openorder_proto::promotion::v1::{Coupon as CouponMessage, CouponCreated, CouponIssued, CouponUpdated};
use openorder_proto::{event_types, topics};
use prost::Message;
use sqlx::postgres::PgRow;

use super::{Event, Fields, Fold, Row, Snapshot};
use crate::verify::database::column;
use crate::verify::report::Findings;

/// A coupon; how many have been issued is judged by those that were.
#[derive(Default)]
pub(super) struct Coupon {
    code: String,
    display_name: String,
    terms: Vec<u8>,
    valid_until_seconds: i64,
    issue_limit: i32,
    issue_limit_per_user: i32,
}

impl Fold for Coupon {
    const NAME: &'static str = "coupons";
    const TOPIC: &'static str = topics::PROMOTION_CATALOG;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select coupon_id::text as id, version, code, display_name, terms, \
        floor(extract(epoch from valid_until_time))::bigint as valid_until_seconds, issue_limit, issue_limit_per_user \
        from coupon order by coupon_id";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let coupon = Self {
            code: column(row, "code")?,
            display_name: column(row, "display_name")?,
            terms: column(row, "terms")?,
            valid_until_seconds: column(row, "valid_until_seconds")?,
            issue_limit: column(row, "issue_limit")?,
            issue_limit_per_user: column(row, "issue_limit_per_user")?,
        };
        Ok((column(row, "id")?, (column(row, "version")?, coupon.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        let coupon: CouponMessage = match event.event_type.as_str() {
            event_types::COUPON_CREATED => event.decode::<CouponCreated>()?.coupon,
            event_types::COUPON_UPDATED => event.decode::<CouponUpdated>()?.coupon,
            other => anyhow::bail!("no such event of a coupon is known: {other}"),
        }
        .unwrap_or_default();
        *self = Self {
            code: coupon.code,
            display_name: coupon.display_name,
            terms: coupon.terms.unwrap_or_default().encode_to_vec(),
            valid_until_seconds: coupon.valid_until_time.unwrap_or_default().seconds,
            issue_limit: coupon.issue_limit,
            issue_limit_per_user: coupon.issue_limit_per_user,
        };
        Ok(())
    }

    fn fields(self) -> Fields {
        vec![
            ("code", self.code),
            ("display_name", self.display_name),
            ("terms", format!("{:?}", self.terms)),
            ("valid_until_time", self.valid_until_seconds.to_string()),
            ("issue_limit", self.issue_limit.to_string()),
            ("issue_limit_per_user", self.issue_limit_per_user.to_string()),
        ]
    }
}

/// A coupon that a user has.
#[derive(Default)]
pub(super) struct IssuedCoupon {
    coupon_id: String,
    user_id: String,
    ordinal: i32,
    state: i32,
}

impl Fold for IssuedCoupon {
    const NAME: &'static str = "issued coupons";
    const TOPIC: &'static str = topics::PROMOTION_COUPON;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select issued_coupon_id::text as id, version, coupon_id::text as coupon_id, user_id, \
        ordinal, state from issued_coupon order by issued_coupon_id";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let issued = Self {
            coupon_id: column(row, "coupon_id")?,
            user_id: column(row, "user_id")?,
            ordinal: column(row, "ordinal")?,
            state: i32::from(column::<i16>(row, "state")?),
        };
        Ok((column(row, "id")?, (column(row, "version")?, issued.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        match event.event_type.as_str() {
            event_types::COUPON_ISSUED => {
                let issued = event.decode::<CouponIssued>()?.issued_coupon.unwrap_or_default();
                *self = Self {
                    coupon_id: issued.coupon_id,
                    user_id: issued.user_id,
                    ordinal: issued.ordinal,
                    state: issued.state,
                };
            }
            other => anyhow::bail!("no such event of an issued coupon is known: {other}"),
        }
        Ok(())
    }

    fn fields(self) -> Fields {
        vec![
            ("coupon", self.coupon_id),
            ("user", self.user_id),
            ("ordinal", self.ordinal.to_string()),
            ("state", self.state.to_string()),
        ]
    }
}

/// As many of each coupon are there as were counted, with the ordinals 1, 2, 3 …, and nobody has more than one user may.
pub(super) async fn check_counts(snapshot: &mut Snapshot, findings: &mut Findings) -> anyhow::Result<()> {
    const COUNTS: &str = "select coupon_id::text as id, issued_count, coalesce(issued, 0) as issued, \
            coalesce(ordinals, 0) as ordinals, coalesce(last_ordinal, 0) as last_ordinal \
        from coupon left join ( \
            select coupon_id, count(*) as issued, count(distinct ordinal) as ordinals, max(ordinal) as last_ordinal \
            from issued_coupon group by coupon_id) as counted using (coupon_id) \
        where (issued_count, issued_count, issued_count) \
              is distinct from (coalesce(issued, 0), coalesce(ordinals, 0), coalesce(last_ordinal, 0)) \
        order by coupon_id";
    let mut rows = snapshot.rows(COUNTS).await?;
    while let Some(row) = rows.next(snapshot).await? {
        let (id, counted): (String, i32) = (column(&row, "id")?, column(&row, "issued_count")?);
        let (issued, ordinals): (i64, i64) = (column(&row, "issued")?, column(&row, "ordinals")?);
        let last: i32 = column(&row, "last_ordinal")?;
        let detail = format!("{counted} counted, {issued} issued with {ordinals} ordinals up to {last}");
        findings.violated("ISSUED_COUNT_DIFFERS", id, detail);
    }
    Ok(())
}
