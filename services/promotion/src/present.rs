//! From the domain to protobuf, and the terms of a coupon back.

use std::collections::BTreeSet;

use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    promotion::v1::{self as proto, coupon_terms},
};
use openorder_rpc::{money_from_proto, money_to_proto, timestamp_to_proto};
use openorder_types::{Money, Sku, ValueError};

use crate::domain::{Code, Coupon, CouponUse, Field, IssuedCoupon, Line, RefusalReason, Terms, Value};

pub(crate) fn coupon(coupon: &Coupon) -> proto::Coupon {
    proto::Coupon {
        coupon_id: coupon.coupon_id.to_string(),
        code: coupon.code.to_string(),
        display_name: coupon.display_name.as_str().to_owned(),
        terms: Some(terms(&coupon.terms)),
        valid_from_time: Some(timestamp_to_proto(&coupon.validity.from)),
        valid_until_time: Some(timestamp_to_proto(&coupon.validity.until)),
        issue_limit: coupon.issue_limit.get(),
        issue_limit_per_user: coupon.issue_limit_per_user.get(),
        issued_count: coupon.issued_count,
        version: coupon.version,
        create_time: Some(timestamp_to_proto(&coupon.create_time)),
        update_time: Some(timestamp_to_proto(&coupon.update_time)),
    }
}

pub(crate) fn terms(terms: &Terms) -> proto::CouponTerms {
    let (value, maximum) = match terms.value() {
        Value::Fixed(amount) => (coupon_terms::Value::FixedAmount(money_to_proto(&amount)), None),
        Value::Percent { basis_points, maximum } => {
            (coupon_terms::Value::PercentBasisPoints(basis_points), maximum.as_ref().map(money_to_proto))
        }
    };
    proto::CouponTerms {
        value: Some(value),
        maximum_discount: maximum,
        minimum_total: terms.minimum_total().as_ref().map(money_to_proto),
        skus: terms.skus().iter().map(Sku::to_string).collect(),
    }
}

/// The terms of a message.
///
/// # Errors
/// What is wrong first, with its field.
pub(crate) fn parse_terms(message: &proto::CouponTerms) -> Result<Terms, (String, ValueError)> {
    let at = |field: &str| {
        let field = field.to_owned();
        move |error| (field, error)
    };
    let maximum = message.maximum_discount.as_ref().map(amount).transpose().map_err(at("maximum_discount"))?;
    let minimum_total = message.minimum_total.as_ref().map(amount).transpose().map_err(at("minimum_total"))?;
    let value = match &message.value {
        Some(coupon_terms::Value::FixedAmount(_)) if maximum.is_some() => {
            let text = "is for percent_basis_points";
            return Err(("maximum_discount".to_owned(), ValueError::new("FIELD_NOT_ALLOWED", text)));
        }
        Some(coupon_terms::Value::FixedAmount(amount)) => {
            Value::Fixed(self::amount(amount).map_err(at("fixed_amount"))?)
        }
        Some(coupon_terms::Value::PercentBasisPoints(basis_points)) => {
            Value::Percent { basis_points: *basis_points, maximum }
        }
        None => return Err(("value".to_owned(), ValueError::new("FIELD_MISSING", "must be set"))),
    };
    let mut skus = BTreeSet::new();
    for (index, text) in message.skus.iter().enumerate() {
        let field = format!("skus[{index}]");
        let sku = Sku::parse(text).map_err(at(&field))?;
        if !skus.insert(sku) {
            return Err((field, ValueError::new("SKU_DUPLICATE", "stands in the list before")));
        }
    }
    Terms::parse(value, minimum_total, skus).map_err(|(field, error)| (field.to_owned(), error))
}

fn amount(message: &MoneyMessage) -> Result<Money, ValueError> {
    Ok(money_from_proto(message)?)
}

pub(crate) fn issued_coupon(issued: &IssuedCoupon, code: &Code) -> proto::IssuedCoupon {
    proto::IssuedCoupon {
        issued_coupon_id: issued.issued_coupon_id.to_string(),
        coupon_id: issued.coupon_id.to_string(),
        code: code.to_string(),
        user_id: issued.user_id.to_string(),
        ordinal: issued.ordinal,
        state: i32::from(issued.state.number()),
        version: issued.version,
        issue_time: Some(timestamp_to_proto(&issued.issue_time)),
        update_time: Some(timestamp_to_proto(&issued.update_time)),
        order_id: issued.order_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(crate) fn coupon_use(one: &CouponUse) -> proto::CouponUse {
    proto::CouponUse {
        order_id: one.order_id.to_string(),
        user_id: one.user_id.to_string(),
        issued_coupon_id: one.issued_coupon_id.to_string(),
        // Numbered as in the contract.
        state: one.state.number().into(),
        reason: refusal_reason(one.reason).into(),
        line_discounts: one.line_discounts.iter().map(money_to_proto).collect(),
        create_time: Some(timestamp_to_proto(&one.create_time)),
        update_time: Some(timestamp_to_proto(&one.update_time)),
    }
}

pub(crate) fn refusal_reason(reason: Option<RefusalReason>) -> proto::CouponRejectionReason {
    let number = reason.map_or(0, RefusalReason::number);
    proto::CouponRejectionReason::try_from(i32::from(number)).unwrap_or_default()
}

/// A line of an order, as coupons look at it.
///
/// # Errors
/// What is wrong first.
pub(crate) fn line(message: &proto::CouponLine) -> Result<Line, ValueError> {
    let missing = || ValueError::new("FIELD_MISSING", "a line without line_total");
    let total = amount(message.line_total.as_ref().ok_or_else(missing)?)?;
    if total.is_negative() {
        return Err(ValueError::new("AMOUNT_NEGATIVE", "line_total must not be less than zero"));
    }
    Ok(Line { sku: Sku::parse(&message.sku)?, total })
}

pub(crate) fn mask(fields: &[Field]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: fields.iter().map(|field| field.path().to_owned()).collect() }
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;
    use crate::domain::{IssuedCouponState, UseState};

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            IssuedCouponState = proto::IssuedCouponState, "ISSUED_COUPON_STATE";
            UseState = proto::CouponUseState, "COUPON_USE_STATE";
            RefusalReason = proto::CouponRejectionReason, "COUPON_REJECTION_REASON";
        }
    }

    #[test]
    fn terms_are_read_as_they_were_written() {
        let eur = |units| Some(MoneyMessage { currency_code: "EUR".to_owned(), units, nanos: 0 });
        let percent = proto::CouponTerms {
            value: Some(coupon_terms::Value::PercentBasisPoints(1_250)),
            maximum_discount: eur(5),
            minimum_total: eur(20),
            skus: vec!["A".to_owned(), "B-1".to_owned()],
        };
        let value = Some(coupon_terms::Value::FixedAmount(eur(5).unwrap()));
        let fixed = proto::CouponTerms { value, ..Default::default() };
        for message in [percent.clone(), fixed.clone()] {
            assert_eq!(terms(&parse_terms(&message).unwrap()), message);
        }
        let refused = |message| parse_terms(&message).map_err(|(field, error)| (field, error.reason)).unwrap_err();
        let both = proto::CouponTerms { maximum_discount: eur(1), ..fixed };
        assert_eq!(refused(both), ("maximum_discount".to_owned(), "FIELD_NOT_ALLOWED"));
        let twice = proto::CouponTerms { skus: vec!["A".to_owned(), "A".to_owned()], ..percent };
        assert_eq!(refused(twice), ("skus[1]".to_owned(), "SKU_DUPLICATE"));
        assert_eq!(refused(proto::CouponTerms::default()), ("value".to_owned(), "FIELD_MISSING"));
    }
}
