//! How an order looks.

use openorder_proto::order::v1::Order;
use openorder_proto::reasons::Word;

use crate::output::line;
use crate::show::money;
use crate::table;
use crate::time;

/// Characters of a product's name in a table.
const NAME_SHOWN_MAX: usize = 40;

/// The order's facts, then its lines.
pub(super) fn print(order: &Order) {
    table::facts(vec![
        ("order", order.order_id.clone()),
        ("status", status(order)),
        ("why", table::cut(&order.status_detail, 500)),
        ("customer", order.customer_id.clone()),
        ("email", order.customer_email.clone()),
        ("total", money(order.total.as_ref())),
        ("change", modification(order)),
        (
            "to be paid until",
            order.payment_deadline.as_ref().map_or_else(String::new, |time| time::in_full(Some(time))),
        ),
        ("made", time::in_full(order.create_time.as_ref())),
        ("changed", time::in_full(order.update_time.as_ref())),
        ("trace", order.trace_id.clone()),
    ]);
    line("");
    let rows = order.lines.iter().map(|one| {
        vec![
            one.sku.clone(),
            table::cut(&table::or_dash(&one.display_name), NAME_SHOWN_MAX),
            one.quantity.to_string(),
            one.unit_price.as_ref().map_or_else(|| "-".to_owned(), |price| money(Some(price))),
            one.line_total.as_ref().map_or_else(|| "-".to_owned(), |total| money(Some(total))),
        ]
    });
    table::print(&["SKU", "PRODUCT", "PIECES", "EACH", "TOGETHER"], rows.collect());
}

/// What became of the last change of its lines: `REJECTED, OUT_OF_STOCK`; empty where none was asked for.
fn modification(order: &Order) -> String {
    let Some(modification) = &order.modification else { return String::new() };
    let word = modification.state().word();
    match modification.reason.as_str() {
        "" => word.to_owned(),
        reason => format!("{word}, {reason}"),
    }
}

/// Where it stands, with the reason where there is one: `REJECTED, OUT_OF_STOCK`.
pub(super) fn status(order: &Order) -> String {
    let word = order.status().word();
    match order.status_reason.as_str() {
        "" => word.to_owned(),
        reason => format!("{word}, {reason}"),
    }
}
