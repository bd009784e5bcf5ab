//! Random histories: everything is late, doubled and out of order, with deadlines, cancellations, expiry and operators
//! in between. When all is quiet, all is where it belongs.
//!
//! A failing history is shrunk and printed with the seed that makes it again (`cc …`, kept in `histories.regressions`).

use proptest::{prelude::*, sample::Index, test_runner::FileFailurePersistence};

use crate::{
    case::{Case, Coupon, Payer},
    participants::{PRICE, STOCK, Use},
    world::{Letter, World},
};

/// What happens next.
#[derive(Debug, Clone)]
enum Act {
    /// A message that is under way is handled.
    Deliver(Index),
    /// It is, and comes again later.
    DeliverTwice(Index),
    /// The step's time is up.
    Deadline,
    /// Somebody asks to pay the order.
    AskToPay,
    /// The customer puts money into the wallet.
    TopUp,
    /// The customer wants so many pieces instead.
    Modify(i64),
    /// The customer calls the order off.
    Cancel,
    /// An operator moves the order on.
    Ship,
    /// An operator notes that the customer has it.
    DeliverOrder,
    /// The carrier has the parcel, or has brought it.
    Carry { to_the_door: bool },
    /// The reservation's time is up.
    Expire,
    /// Somebody releases the stock, and the order has not asked for it.
    Release { expired: bool },
    /// An operator has a failed compensation tried again.
    Retry,
    /// An operator settles a failed compensation.
    Settle,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => any::<Index>().prop_map(Act::Deliver),
        3 => any::<Index>().prop_map(Act::DeliverTwice),
        4 => Just(Act::Deadline),
        2 => Just(Act::AskToPay),
        1 => Just(Act::TopUp),
        2 => (1_i64..=STOCK + 2).prop_map(Act::Modify),
        1 => Just(Act::Cancel),
        1 => Just(Act::Ship),
        1 => Just(Act::DeliverOrder),
        1 => any::<bool>().prop_map(|to_the_door| Act::Carry { to_the_door }),
        1 => Just(Act::Expire),
        1 => any::<bool>().prop_map(|expired| Act::Release { expired }),
        1 => Just(Act::Retry),
        1 => Just(Act::Settle),
    ]
}

fn play(world: &mut World, acts: &[Act]) {
    for act in acts {
        match act {
            Act::Deliver(index) if !world.under_way.is_empty() => {
                let letter = world.under_way.remove(index.index(world.under_way.len()));
                world.handle(letter);
            }
            Act::DeliverTwice(index) if !world.under_way.is_empty() => {
                let letter = index.get(&world.under_way).clone();
                world.handle(letter);
            }
            Act::Deliver(_) | Act::DeliverTwice(_) => {}
            Act::Deadline => world.pass_deadline(),
            Act::AskToPay => world.ask_to_pay(),
            Act::TopUp => world.top_up(PRICE),
            Act::Modify(pieces) => drop(world.modify(*pieces)),
            Act::Cancel => world.cancel(),
            Act::Ship => world.ship(),
            Act::DeliverOrder => world.deliver_order(),
            Act::Carry { to_the_door } => world.carry(*to_the_door),
            Act::Expire => world.look_at_expired(),
            Act::Release { expired } => {
                let answers = world.inventory.release(*expired);
                world.under_way.extend(answers.into_iter().map(Letter::Signal));
            }
            Act::Retry => world.retry(),
            Act::Settle => world.settle(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// No order is charged twice, no money is kept for a cancelled order, no stock or coupon is held for a settled one,
    /// nobody is charged more or less than the coupon leaves, no parcel leaves for an order that was called off, every order
    /// gets to its end once messages flow, and versions have no gap.
    #[test]
    fn when_all_is_quiet_everything_is_where_it_belongs(
        is_product_known in prop::bool::weighted(0.9),
        has_stock in prop::bool::weighted(0.9),
        has_money in prop::bool::weighted(0.8),
        coupon in prop::sample::select(Coupon::ALL.as_slice()),
        ships in any::<bool>(),
        payer in prop::sample::select(Payer::ALL.as_slice()),
        acts in prop::collection::vec(act(), 0..80),
    ) {
        let mut world = World::of(Case { is_product_known, has_stock, has_money, coupon, ships, payer });
        play(&mut world, &acts);
        world.settle_down();
        world.check();
    }
}

/// Histories that are too tame prove nothing: each end, and each way to it, is seen among a few thousand.
#[test]
fn the_histories_reach_every_end_and_every_step() {
    use openorder_order::{
        domain::{ModificationState, OrderStatus},
        saga::Step,
    };
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let (mut ends, mut steps, mut lost, mut held_for_rejected) = (Vec::new(), Vec::new(), false, false);
    let (mut redeemed, mut restored, mut nothing_to_pay, mut late_parcels) = (0, 0, 0, 0);
    let (mut by_hand, mut not_in_time, mut given_back) = (0, 0, 0);
    let (mut modified, mut kept, mut paid_first, mut ended) = (0, 0, 0, 0);
    for round in 0..3_000 {
        let tree = (any::<bool>(), any::<bool>(), prop::collection::vec(act(), 0..80)).new_tree(&mut runner).unwrap();
        let (has_stock, has_money, acts) = tree.current();
        let mut world = World::of(Case {
            is_product_known: round % 10 != 0,
            has_stock: has_stock || has_money,
            has_money,
            coupon: Coupon::ALL[round % 4],
            ships: round % 3 != 0,
            payer: Payer::ALL[(round / 4) % 3],
        });
        for act in &acts {
            play(&mut world, std::slice::from_ref(act));
            if !steps.contains(&world.saga.step) {
                steps.push(world.saga.step);
            }
        }
        world.settle_down();
        let is_by_hand = world.order.payment_window.is_some();
        by_hand += u32::from(is_by_hand && world.order.status >= OrderStatus::Paid && world.payment.debits > 0);
        not_in_time += u32::from(world.order.status_reason == "PAYMENT_DEADLINE_EXCEEDED");
        given_back += u32::from(is_by_hand && world.payment.given_back);
        if let Some(modification) = &world.order.modification {
            let goes = world.order.status >= OrderStatus::Paid && world.order.status < OrderStatus::Cancelled;
            modified += u32::from(goes && modification.state == ModificationState::Accepted);
            kept += u32::from(goes && modification.reason == "OUT_OF_STOCK");
            paid_first += u32::from(modification.reason == "ORDER_ALREADY_PAID");
            ended += u32::from(modification.reason == "CANCELLED_BY_CUSTOMER");
        }
        redeemed += u32::from(world.promotion.coupon_use == Some(Use::Redeemed));
        restored += u32::from(world.promotion.coupon_use == Some(Use::Released));
        nothing_to_pay += u32::from(world.order.status >= OrderStatus::Paid && world.payment.taken.is_none());
        late_parcels += u32::from(world.parcel_reported_lost);
        lost |= world.stock_reported_lost;
        held_for_rejected |= world.order.status == OrderStatus::Rejected && world.saga.step == Step::Compensated;
        if !ends.contains(&world.order.status) {
            ends.push(world.order.status);
        }
    }
    let all = [
        OrderStatus::Preparing,
        OrderStatus::Shipped,
        OrderStatus::Delivered,
        OrderStatus::Cancelled,
        OrderStatus::Rejected,
    ];
    for end in all {
        assert!(ends.contains(&end), "no order ended as {end}");
    }
    let seen = [redeemed, restored, nothing_to_pay, late_parcels];
    assert!(seen.iter().all(|count| *count > 0), "redeemed, restored, nothing to pay, late parcels: {seen:?}");
    let seen = [by_hand, not_in_time, given_back];
    assert!(seen.iter().all(|count| *count > 0), "paid by hand, not paid in time, given back: {seen:?}");
    let seen = [modified, kept, paid_first, ended];
    assert!(seen.iter().all(|count| *count > 0), "modified, not, paid first, ended with the order: {seen:?}");
    for number in 1..=8 {
        let step = Step::from_number(number).unwrap();
        assert!(steps.contains(&step) || step == Step::Rejected && ends.contains(&OrderStatus::Rejected), "{step:?}");
    }
    assert!(lost, "no stock of a shipped order was lost");
    assert!(held_for_rejected, "no stock was held for an order of an unknown product");
}
