//! Coupons, and those that users have.

use openorder_proto::promotion::v1::{
    Coupon as CouponMessage, CouponCreated, CouponHeld, CouponIssued, CouponRedeemed, CouponRejected, CouponRestored,
    CouponUpdated,
};
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

/// A coupon that a user has; or the use of one by an order, as far as it has events of its own.
#[derive(Default)]
pub(super) struct IssuedCoupon {
    coupon_id: String,
    user_id: String,
    ordinal: i32,
    state: i32,
    order_id: String,
}

impl Fold for IssuedCoupon {
    const NAME: &'static str = "issued coupons and their uses";
    const TOPIC: &'static str = topics::PROMOTION_COUPON;
    const TYPES: &'static [&'static str] = &[];
    const ROWS: &'static str = "select issued_coupon_id::text as id, version, coupon_id::text as coupon_id, user_id, \
        ordinal, state, coalesce(order_id::text, '') as order_id from issued_coupon \
        union all select order_id::text, version, '', user_id, 0, 0::smallint, '' from coupon_use where version > 0 \
        order by id";

    fn row(row: &PgRow) -> sqlx::Result<Row> {
        let issued = Self {
            coupon_id: column(row, "coupon_id")?,
            user_id: column(row, "user_id")?,
            ordinal: column(row, "ordinal")?,
            state: i32::from(column::<i16>(row, "state")?),
            order_id: column(row, "order_id")?,
        };
        Ok((column(row, "id")?, (column(row, "version")?, issued.fields())))
    }

    fn apply(&mut self, event: &Event) -> anyhow::Result<()> {
        let (user_id, issued) = match event.event_type.as_str() {
            event_types::COUPON_ISSUED => (None, event.decode::<CouponIssued>()?.issued_coupon),
            event_types::COUPON_HELD => (None, event.decode::<CouponHeld>()?.issued_coupon),
            event_types::COUPON_REDEEMED => (None, event.decode::<CouponRedeemed>()?.issued_coupon),
            event_types::COUPON_REJECTED => (Some(event.decode::<CouponRejected>()?.user_id), None),
            event_types::COUPON_RESTORED => {
                let restored: CouponRestored = event.decode()?;
                (Some(restored.user_id), restored.issued_coupon)
            }
            other => anyhow::bail!("no such event of an issued coupon is known: {other}"),
        };
        if let Some(issued) = issued {
            *self = Self {
                coupon_id: issued.coupon_id,
                user_id: issued.user_id,
                ordinal: issued.ordinal,
                state: issued.state,
                order_id: issued.order_id,
            };
        } else {
            self.user_id = user_id.unwrap_or_default();
        }
        Ok(())
    }

    fn fields(self) -> Fields {
        vec![
            ("coupon", self.coupon_id),
            ("user", self.user_id),
            ("ordinal", self.ordinal.to_string()),
            ("state", self.state.to_string()),
            ("order", self.order_id),
        ]
    }
}

/// A coupon is kept for an order or used by it exactly if its use says so.
pub(super) async fn check_uses(snapshot: &mut Snapshot, findings: &mut Findings) -> anyhow::Result<()> {
    // IssuedCouponState: 2 held, 3 redeemed; CouponUseState: 1 held, 2 redeemed.
    const USES: &str = "select coalesce(issued.issued_coupon_id, used.issued_coupon_id)::text as id, \
            coalesce(issued.state, 0::smallint) as state, coalesce(issued.order_id::text, '') as order_id, \
            coalesce(used.state, 0::smallint) as used, coalesce(used.order_id::text, '') as used_by \
        from (select * from issued_coupon where state <> 1) as issued \
        full join (select * from coupon_use where state in (1, 2)) as used \
            on used.issued_coupon_id = issued.issued_coupon_id and used.order_id = issued.order_id \
        where issued.state is distinct from used.state + 1 \
        order by id";
    let mut rows = snapshot.rows(USES).await?;
    while let Some(row) = rows.next(snapshot).await? {
        let (id, state, used): (String, i16, i16) =
            (column(&row, "id")?, column(&row, "state")?, column(&row, "used")?);
        let (order_id, used_by): (String, String) = (column(&row, "order_id")?, column(&row, "used_by")?);
        let detail =
            format!("issued coupon in state {state} of order {order_id:?}, use in state {used} of {used_by:?}");
        findings.violated("COUPON_USE_DIFFERS", id, detail);
    }
    Ok(())
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
