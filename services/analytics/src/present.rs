//! From the domain to protobuf.

use openorder_proto::{
    analytics::v1 as proto, google::r#type::Money as MoneyMessage, order::v1::OrderStatus as OrderStatusMessage,
};
use openorder_rpc::timestamp_to_proto;
use openorder_types::{Currency, Timestamp};

use crate::domain::{Amounts, OrderStatus, ProductSales, Rebuild, SalesSums};

const NANOS_PER_UNIT: i128 = 1_000_000_000;

/// A sum of minor units, which may be more than an amount holds: then it is as much as that holds.
pub(crate) fn money(minor_units: i128, currency: Currency) -> MoneyMessage {
    let per_unit = i128::from(currency.minor_per_unit());
    let currency_code = currency.as_str().to_owned();
    match i64::try_from(minor_units / per_unit) {
        Ok(units) => {
            let nanos = minor_units % per_unit * (NANOS_PER_UNIT / per_unit);
            // Less than a unit of nanos always fits 32 bits.
            MoneyMessage { currency_code, units, nanos: i32::try_from(nanos).unwrap_or_default() }
        }
        Err(_) => MoneyMessage { currency_code, units: if minor_units < 0 { i64::MIN } else { i64::MAX }, nanos: 0 },
    }
}

/// A product as it stands in a ranking of all currencies.
pub(crate) fn product(sales: &ProductSales) -> proto::TopProduct {
    // Currencies in which nothing was sold in this window have no amount.
    let sold = sales.by_currency.iter().filter(|(_, amounts)| **amounts != Amounts::default());
    let revenue = sold.map(|(currency, amounts)| money(amounts.revenue_minor, *currency));
    proto::TopProduct {
        sku: sales.sku.to_string(),
        display_name: sales.display_name.clone(),
        quantity: sales.quantity(None),
        revenue: revenue.collect(),
    }
}

/// The same in a ranking of one currency, where it has so many pieces.
pub(crate) fn in_currency(product: proto::TopProduct, currency: Currency, quantity: i64) -> proto::TopProduct {
    let mut revenue = product.revenue;
    revenue.retain(|amount| amount.currency_code == currency.as_str());
    proto::TopProduct { quantity, revenue, ..product }
}

pub(crate) fn sales_row(period: &Timestamp, currency: Currency, sums: &SalesSums) -> proto::SalesRow {
    proto::SalesRow {
        period_start_time: Some(timestamp_to_proto(period)),
        currency_code: currency.as_str().to_owned(),
        orders: sums.orders,
        quantity: sums.quantity,
        gross: Some(money(sums.gross_minor, currency)),
        discount: Some(money(sums.gross_minor - sums.net_minor, currency)),
        net: Some(money(sums.net_minor, currency)),
        refunded: Some(money(sums.refunded_minor, currency)),
        refunded_orders: sums.refunded_orders,
        refunded_quantity: sums.refunded_quantity,
    }
}

pub(crate) fn order_count(status: OrderStatus, status_reason: String, orders: i64) -> proto::OrderCount {
    let status = OrderStatusMessage::try_from(i32::from(status.number())).unwrap_or_default();
    proto::OrderCount { status: status.into(), status_reason, orders }
}

pub(crate) fn rebuild(rebuild: &Rebuild) -> proto::Rebuild {
    proto::Rebuild {
        rebuild_id: rebuild.rebuild_id.to_string(),
        from_events: rebuild.from_events,
        // Numbered as in the contract.
        state: rebuild.state.number().into(),
        events_read: rebuild.events_read,
        events_unreadable: rebuild.events_unreadable,
        log_position: rebuild.log_position,
        products_ranked: rebuild.products_ranked,
        requested_by: rebuild.requested_by.clone(),
        reason: rebuild.reason.clone(),
        waiting_for: rebuild.waiting_for.clone(),
        failure_reason: rebuild.failure_reason.clone(),
        start_time: Some(timestamp_to_proto(&rebuild.start_time)),
        update_time: Some(timestamp_to_proto(&rebuild.update_time)),
        end_time: rebuild.end_time.as_ref().map(timestamp_to_proto),
    }
}

#[cfg(test)]
mod tests {
    use openorder_proto::analytics::v1 as proto;
    use openorder_rpc::money_to_proto;
    use openorder_types::{Money, assert_numbered_as_in_the_contract};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Granularity, RebuildState, Window};

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            OrderStatus = OrderStatusMessage, "ORDER_STATUS";
            Window = proto::RankingWindow, "RANKING_WINDOW";
            Granularity = proto::SalesGranularity, "SALES_GRANULARITY";
            RebuildState = proto::RebuildState, "REBUILD_STATE";
        }
    }

    #[test]
    fn a_sum_beyond_an_amount_is_as_much_as_that_holds() {
        let eur = Currency::parse("EUR").unwrap();
        let most = i128::from(i64::MAX) * 100 + 99;
        assert_eq!((money(most, eur).units, money(most, eur).nanos), (i64::MAX, 990_000_000));
        assert_eq!((money(most + 1, eur).units, money(most + 1, eur).nanos), (i64::MAX, 0));
        assert_eq!(money(-most - 200, eur).units, i64::MIN);
    }

    proptest! {
        #[test]
        fn sums_are_shown_as_amounts_are(minor in any::<i64>(), code in proptest::sample::select(vec!["EUR", "KRW", "KWD"])) {
            let currency = Currency::parse(code).unwrap();
            prop_assert_eq!(money(i128::from(minor), currency), money_to_proto(&Money::new(minor, currency)));
        }
    }
}
