use std::collections::HashMap;

use openorder_types::Money;
use proptest::prelude::*;

use super::*;
use crate::domain::SoldLine;

/// The ways that orders go, each to its last status.
const WAYS: [&[OrderStatus]; 9] = {
    use OrderStatus::{Cancelled, Confirmed, Delivered, Paid, Pending, Preparing, Rejected, Shipped};
    [
        &[Pending],
        &[Pending, Rejected],
        &[Pending, Cancelled],
        &[Pending, Confirmed, Cancelled],
        &[Pending, Confirmed, Paid],
        &[Pending, Confirmed, Paid, Cancelled],
        &[Pending, Confirmed, Paid, Preparing],
        &[Pending, Confirmed, Paid, Preparing, Cancelled],
        &[Pending, Confirmed, Paid, Preparing, Shipped, Delivered],
    ]
};

#[derive(Debug, Clone)]
struct Order {
    made: Timestamp,
    way: &'static [OrderStatus],
    sale: Sale,
}

fn time(minutes: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
}

/// Long after all of it, so that some days are old.
fn now() -> Timestamp {
    time(20 * 24 * 60)
}

fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn sku(number: u8) -> Sku {
    Sku::parse(&format!("SKU-{number}")).unwrap()
}

fn reason(status: OrderStatus) -> Reason {
    match status {
        OrderStatus::Cancelled => Reason::of("CANCELLED_BY_CUSTOMER"),
        OrderStatus::Rejected => Reason::of("OUT_OF_STOCK"),
        _ => Reason::none(),
    }
}

impl Order {
    /// What its events say, a minute apart.
    fn facts(&self) -> Vec<Fact> {
        let steps = self.way.iter().enumerate().map(|(index, to)| {
            let from = index.checked_sub(1).map(|before| self.way[before]);
            let trade = match to {
                OrderStatus::Paid => Some(Trade::Sold(self.sale.clone())),
                OrderStatus::Cancelled if from.is_some_and(OrderStatus::is_sold) => {
                    Some(Trade::GivenBack(self.sale.clone()))
                }
                _ => None,
            };
            let change = Change { made: Hour::of(self.made), from, to: *to, reason: reason(*to), trade };
            let origin = Origin { event_id: Uuid::now_v7(), is_logged: true, position: None };
            let time = self.made + chrono::TimeDelta::minutes(i64::try_from(index).unwrap());
            Fact { origin, time: Some(time), change }
        });
        steps.collect()
    }

    fn last(&self) -> OrderStatus {
        self.way[self.way.len() - 1]
    }

    fn was_paid(&self) -> bool {
        self.way.contains(&OrderStatus::Paid)
    }
}

fn order() -> impl Strategy<Value = Order> {
    let line = (0..5_u8, 1..10_i64, 1..1_000_i64, 0..100_i64);
    let lines = proptest::collection::vec(line, 1..4);
    let way = 0..WAYS.len();
    (0..25 * 24 * 60_i64, way, proptest::sample::select(vec!["EUR", "KRW", "KWD"]), lines).prop_map(
        |(minutes, way, code, lines)| {
            let lines: Vec<SoldLine> = lines
                .into_iter()
                .map(|(number, quantity, price, discount)| SoldLine {
                    sku: sku(number),
                    display_name: format!("Product {number}"),
                    quantity,
                    gross_minor: price * quantity,
                    discount_minor: discount.min(price),
                })
                .collect();
            let total = lines.iter().map(|line| line.gross_minor - line.discount_minor).sum();
            let sale = Sale { total: Money::new(total, currency(code)), lines };
            Order { made: time(minutes), way: WAYS[way], sale }
        },
    )
}

/// Sums of several shards, as the tables keep them.
#[derive(Default)]
struct Stored(HashMap<u8, Vec<Deltas>>);

impl Stored {
    fn add(&mut self, shard: u8, deltas: Deltas) {
        self.0.entry(shard).or_default().push(deltas.without_zeroes());
    }

    fn all(&self) -> impl Iterator<Item = &Deltas> {
        self.0.values().flatten()
    }

    fn orders(&self, status: OrderStatus) -> i64 {
        self.all().flat_map(|deltas| &deltas.orders).filter(|((_, known, _), _)| *known == status).map(|(_, n)| n).sum()
    }

    fn sales(&self, currency: Currency) -> SalesSums {
        let of_currency = self.all().flat_map(|deltas| &deltas.sales).filter(|((_, known), _)| *known == currency);
        of_currency.fold(SalesSums::default(), |sum, (_, one)| SalesSums {
            orders: sum.orders + one.orders,
            quantity: sum.quantity + one.quantity,
            gross_minor: sum.gross_minor + one.gross_minor,
            net_minor: sum.net_minor + one.net_minor,
            refunded_orders: sum.refunded_orders + one.refunded_orders,
            refunded_quantity: sum.refunded_quantity + one.refunded_quantity,
            refunded_minor: sum.refunded_minor + one.refunded_minor,
        })
    }

    fn product(&self, sku: &Sku, currency: Currency) -> (i64, i128) {
        let of_product = self.all().flat_map(|deltas| &deltas.products);
        let of_product = of_product.filter(|(key, _)| key.sku == *sku && key.currency == currency);
        of_product.fold((0, 0), |(quantity, revenue), (_, one)| (quantity + one.quantity, revenue + one.revenue_minor))
    }
}

proptest! {
    /// However events are mixed, cut into batches and spread over shards: the sums are those of the orders as they end.
    #[test]
    fn sums_are_those_of_the_orders_in_whatever_order_their_events_come(
        orders in proptest::collection::vec(order(), 0..40),
        mix in proptest::collection::vec((any::<u32>(), 0..3_u8, any::<bool>()), 240),
    ) {
        let facts = orders.iter().flat_map(Order::facts);
        let mut mixed: Vec<_> = mix.into_iter().zip(facts).collect();
        mixed.sort_by_key(|((place, ..), _)| *place);
        let (mut stored, mut deltas) = (Stored::default(), Deltas::default());
        for ((_, shard, ends_batch), fact) in &mixed {
            deltas.add(fact, now());
            if *ends_batch {
                stored.add(*shard, std::mem::take(&mut deltas));
            }
        }
        stored.add(0, deltas);

        for status in OrderStatus::ALL {
            let expected = orders.iter().filter(|order| order.last() == *status).count();
            prop_assert_eq!(stored.orders(*status), i64::try_from(expected).unwrap(), "{}", status);
        }
        for code in ["EUR", "KRW", "KWD"] {
            let currency = currency(code);
            let paid: Vec<&Order> =
                orders.iter().filter(|order| order.was_paid() && order.sale.total.currency() == currency).collect();
            let kept: Vec<&&Order> = paid.iter().filter(|order| order.last().is_sold()).collect();
            let sums = stored.sales(currency);
            prop_assert_eq!(sums.orders, i64::try_from(paid.len()).unwrap());
            prop_assert_eq!(sums.orders - sums.refunded_orders, i64::try_from(kept.len()).unwrap());
            prop_assert_eq!(sums.gross_minor, paid.iter().map(|order| gross_minor(&order.sale)).sum::<i128>());
            let minor = |orders: &mut dyn Iterator<Item = &Order>| {
                orders.map(|order| i128::from(order.sale.total.minor_units())).sum::<i128>()
            };
            prop_assert_eq!(sums.net_minor, minor(&mut paid.iter().copied()));
            prop_assert_eq!(sums.net_minor - sums.refunded_minor, minor(&mut kept.iter().map(|order| **order)));
            let mut by_product = (0, 0);
            for number in 0..5 {
                let lines = kept.iter().flat_map(|order| &order.sale.lines).filter(|line| line.sku == sku(number));
                let expected = lines.fold((0, 0), |(quantity, revenue), line| {
                    (quantity + line.quantity, revenue + i128::from(line.gross_minor - line.discount_minor))
                });
                let found = stored.product(&sku(number), currency);
                prop_assert_eq!(found, expected);
                by_product = (by_product.0 + found.0, by_product.1 + found.1);
            }
            let summed = (sums.quantity - sums.refunded_quantity, sums.net_minor - sums.refunded_minor);
            prop_assert_eq!(by_product, summed, "products add up to the summary");
        }
        let mut days = stored.all().flat_map(|deltas| deltas.products.keys());
        let first = now().date_naive() - chrono::Days::new(crate::domain::DAYS_KEPT);
        prop_assert!(days.all(|key| key.day == crate::domain::BEFORE_ALL_DAYS || key.day >= first));
    }
}

fn paid_in(minutes: i64, event_id: Uuid, name: &str) -> Fact {
    let line =
        SoldLine { sku: sku(1), display_name: name.to_owned(), quantity: 2, gross_minor: 300, discount_minor: 50 };
    let sale = Sale { total: Money::new(250, currency("EUR")), lines: vec![line] };
    let change = Change {
        made: Hour::of(time(minutes)),
        from: Some(OrderStatus::Confirmed),
        to: OrderStatus::Paid,
        reason: Reason::none(),
        trade: Some(Trade::Sold(sale)),
    };
    Fact { origin: Origin { event_id, is_logged: true, position: Some(7) }, time: Some(time(minutes)), change }
}

#[test]
fn what_happened_counts_in_its_period_and_a_refund_in_the_period_of_the_refund() {
    let mut fact = paid_in(0, Uuid::from_u128(1), "Tea");
    let mut deltas = Deltas::default();
    deltas.add(&fact, time(0));
    let Some(Trade::Sold(sale)) = fact.change.trade.take() else { panic!("a sale") };
    fact.change.trade = Some(Trade::GivenBack(sale));
    (fact.change.from, fact.change.to) = (Some(OrderStatus::Paid), OrderStatus::Cancelled);
    fact.time = Some(time(90));
    deltas.add(&fact, time(90));
    let eur = currency("EUR");
    let sold = SalesSums { orders: 1, quantity: 2, gross_minor: 300, net_minor: 250, ..SalesSums::default() };
    let refunded = SalesSums { refunded_orders: 1, refunded_quantity: 2, refunded_minor: 250, ..SalesSums::default() };
    let expected = BTreeMap::from([((Hour::of(time(0)), eur), sold), ((Hour::of(time(90)), eur), refunded)]);
    assert_eq!(deltas.sales, expected);
    // Confirmed, paid, and paid no more.
    let counts: Vec<i64> = deltas.without_zeroes().orders.into_values().collect();
    assert_eq!(counts, [-1, 1]);
}

#[test]
fn a_product_has_the_name_of_the_newest_event() {
    let mut deltas = Deltas::default();
    for (id, name) in [(2, "second"), (3, "third"), (1, "first")] {
        deltas.add(&paid_in(0, Uuid::from_u128(id), name), time(0));
    }
    let product = deltas.products.into_values().next().unwrap();
    assert_eq!((product.display_name.as_str(), product.quantity, product.revenue_minor), ("third", 6, 750));
}

#[test]
fn what_does_not_tell_its_time_happens_when_it_is_counted() {
    let mut deltas = Deltas::default();
    deltas.add(&Fact { time: None, ..paid_in(0, Uuid::nil(), "Tea") }, time(600));
    assert_eq!(deltas.sales.into_keys().next().unwrap().0, Hour::of(time(600)));
}

#[test]
fn sums_hold_what_stood_in_the_log_and_not_what_has_its_place_now() {
    let base = Base { position: 10, newest_id: Uuid::from_u128(5) };
    let origin = |id, position| Origin { event_id: Uuid::from_u128(id), is_logged: true, position };
    assert!(base.holds(&origin(5, Some(10))) && base.holds(&origin(1, Some(1))));
    assert!(!base.holds(&origin(4, Some(11))), "it came later");
    assert!(!base.holds(&origin(6, Some(3))), "the log was restored, and gave its position again");
    assert!(base.holds(&origin(1, None)), "a record of a former version does not say where it stands");
    assert!(!base.holds(&Origin { is_logged: false, ..origin(1, None) }), "it stands in no log");
    assert!(!Base::default().holds(&origin(1, Some(1))) && !Base::default().holds(&origin(1, None)));
}

proptest! {
    /// Sums that are made of the log up to its end, and switched to while consumers are anywhere behind it, have each
    /// event once.
    #[test]
    fn each_event_is_counted_once_wherever_consumers_are_at_the_switch(
        events in 1..40_usize,
        switch in 0..40_usize,
        consumed in 0..40_usize,
        swaps in proptest::collection::vec(0..38_usize, 0..10),
    ) {
        let (switch, consumed) = (switch.min(events), consumed.min(switch).min(events));
        // Ids are drawn by several processes: their order is nearly that of the log.
        let mut ids: Vec<u128> = (1..).take(events).collect();
        swaps.into_iter().filter(|at| at + 1 < events).for_each(|at| ids.swap(at, at + 1));
        let log: Vec<Origin> = ids
            .into_iter()
            .zip(1..)
            .map(|(id, position)| Origin { event_id: Uuid::from_u128(id), is_logged: true, position: Some(position) })
            .collect();
        let read = &log[..switch];
        let newest_id = read.iter().map(|origin| origin.event_id).max().unwrap_or_default();
        let base = Base { position: i64::try_from(switch).unwrap(), newest_id };
        let later = log[consumed..].iter().filter(|origin| !base.holds(origin));
        prop_assert_eq!(read.iter().chain(later).count(), events);
    }
}
