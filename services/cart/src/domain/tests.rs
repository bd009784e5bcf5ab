use std::collections::{BTreeMap, BTreeSet};

use openorder_types::{Quantity, Sku, Timestamp, UserId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const CART: Uuid = Uuid::from_u128(7);
const LIMITS: Limits = Limits { lines_max: 3, quantity_max: 50 };

fn context() -> Context {
    Context { cart_id: CART, now: Timestamp::UNIX_EPOCH, limits: LIMITS }
}

fn sku(number: u8) -> Sku {
    Sku::parse(&format!("S{number}")).unwrap()
}

fn quantity(pieces: i64) -> Quantity {
    Quantity::parse(pieces).unwrap()
}

fn add(number: u8, pieces: i64) -> Change {
    Change::Add { sku: sku(number), quantity: quantity(pieces) }
}

fn set(number: u8, pieces: i64) -> Change {
    Change::Set { sku: sku(number), quantity: quantity(pieces) }
}

/// The cart after these changes, those that are refused left out.
fn after(cart: Option<Cart>, changes: &[Change]) -> Option<Cart> {
    changes.iter().fold(cart, |cart, one| match change(cart.as_ref(), one, &context()) {
        Ok(Some(after)) => Some(after),
        Ok(None) | Err(_) => cart,
    })
}

/// Pieces by product.
fn pieces(cart: Option<&Cart>) -> BTreeMap<Sku, i64> {
    let lines = cart.map(|cart| cart.lines.as_slice()).unwrap_or_default();
    lines.iter().map(|line| (line.sku.clone(), line.quantity())).collect()
}

fn checkout_of(cart: &Cart) -> Checkout {
    let customer_id = UserId::parse("ada").unwrap();
    Checkout { checkout_id: Uuid::from_u128(1), cart_id: cart.cart_id, cart_version: cart.version, customer_id }
}

fn ordered(cart: &Cart) -> Vec<(Sku, Quantity)> {
    cart.lines.iter().map(|line| (line.sku.clone(), quantity(line.quantity()))).collect()
}

fn reason(result: Result<Option<Cart>, openorder_types::Rejection>) -> &'static str {
    result.unwrap_err().reason
}

#[test]
fn the_first_pieces_make_the_cart_and_every_change_one_version() {
    let first = change(None, &add(1, 2), &context()).unwrap().unwrap();
    assert_eq!((first.cart_id, first.version, first.lines.len()), (CART, 1, 1));
    let other = Context { cart_id: Uuid::from_u128(8), ..context() };
    let second = change(Some(&first), &add(1, 3), &other).unwrap().unwrap();
    assert_eq!((second.cart_id, second.version), (CART, 2), "it is the same cart");
    assert_eq!(pieces(Some(&second)), BTreeMap::from([(sku(1), 5)]));
}

#[test]
fn what_changes_nothing_makes_no_version_and_what_is_not_there_cannot_be_set() {
    let cart = after(None, &[add(1, 2)]).unwrap();
    assert_eq!(change(Some(&cart), &set(1, 2), &context()), Ok(None));
    assert_eq!(change(Some(&cart), &Change::Remove { sku: sku(2) }, &context()), Ok(None));
    assert_eq!(change(None, &Change::Clear, &context()), Ok(None));
    assert_eq!(reason(change(Some(&cart), &set(2, 1), &context())), "CART_LINE_NOT_FOUND");
    assert_eq!(reason(change(None, &set(2, 1), &context())), "CART_LINE_NOT_FOUND");
    let cleared = change(Some(&cart), &Change::Clear, &context()).unwrap().unwrap();
    assert_eq!((cleared.version, cleared.lines.len(), cleared.cart_id), (2, 0, CART));
}

#[test]
fn limits_are_kept_and_a_cart_above_them_can_be_made_smaller() {
    let full = after(None, &[add(1, 50), add(2, 1), add(3, 1)]).unwrap();
    assert_eq!(reason(change(Some(&full), &add(4, 1), &context())), "CART_LINE_LIMIT_REACHED");
    assert_eq!(reason(change(Some(&full), &add(1, 1), &context())), "CART_QUANTITY_LIMIT_REACHED");
    assert_eq!(reason(change(Some(&full), &set(2, 51), &context())), "CART_QUANTITY_LIMIT_REACHED");
    assert_eq!(reason(change(None, &add(1, 51), &context())), "CART_QUANTITY_LIMIT_REACHED");
    let narrow = Context { limits: Limits { lines_max: 1, quantity_max: 10 }, ..context() };
    let smaller = change(Some(&full), &set(1, 40), &narrow).unwrap();
    assert_eq!(pieces(smaller.as_ref())[&sku(1)], 40);
    assert!(change(Some(&full), &add(2, 1), &narrow).is_ok());
}

#[test]
fn lines_are_shown_in_the_order_in_which_they_came() {
    let cart = after(None, &[add(3, 1), add(1, 1), add(2, 1), add(3, 4), set(1, 9)]).unwrap();
    let shown: Vec<&Sku> = cart.lines.iter().map(|line| &line.sku).collect();
    assert_eq!(shown, [&sku(3), &sku(1), &sku(2)]);
}

#[test]
fn a_cart_of_another_time_is_left_alone_by_an_order() {
    let cart = after(None, &[add(1, 2)]).unwrap();
    let foreign = Checkout { cart_id: Uuid::from_u128(8), ..checkout_of(&cart) };
    assert_eq!(take(&cart, &foreign, &ordered(&cart), &context()), None);
}

#[test]
fn of_very_many_additions_ordered_pieces_stay_rather_than_others_leave() {
    let mut cart = after(None, &[add(1, 1)]).unwrap();
    let checkout = checkout_of(&cart);
    let order = ordered(&cart);
    for _ in 0..20 {
        cart = after(Some(cart), &[add(1, 1)]).unwrap();
    }
    assert!(take(&cart, &checkout, &order, &context()).is_none_or(|after| pieces(Some(&after))[&sku(1)] >= 20));
    assert!(cart.lines[0].additions().len() <= 8);
}

#[test]
fn what_cannot_be_a_line_is_none() {
    let of = |since, parts: &[(i64, i64)]| {
        let additions = parts.iter().map(|(version, quantity)| Addition { version: *version, quantity: *quantity });
        Line::of_parts(sku(1), since, additions.collect())
    };
    assert!(of(1, &[(1, 2), (3, 1)]).is_some());
    for wrong in [&[][..], &[(1, 0)], &[(3, 1), (1, 1)], &[(1, -1)], &[(1, i64::MAX), (2, 1)]] {
        assert_eq!(of(1, wrong), None, "{wrong:?}");
    }
    assert_eq!(of(0, &[(1, 1)]), None);
    assert_eq!(of(2, &[(1, 1)]), None);
}

fn any_change() -> impl Strategy<Value = Change> {
    let product = 1..=3_u8;
    prop_oneof![
        4 => (product.clone(), 1..=9_i64).prop_map(|(number, pieces)| add(number, pieces)),
        3 => (product.clone(), 1..=9_i64).prop_map(|(number, pieces)| set(number, pieces)),
        2 => product.prop_map(|number| Change::Remove { sku: sku(number) }),
        1 => Just(Change::Clear),
    ]
}

proptest! {
    /// Whatever is done to the cart between checkout and order: of the pieces that were ordered those leave that are still
    /// there, and every piece that came since stays.
    #[test]
    fn an_order_takes_out_what_was_ordered_and_nothing_that_came_since(
        before in prop::collection::vec(any_change(), 1..20),
        since in prop::collection::vec(any_change(), 0..7),
    ) {
        let Some(cart) = after(None, &before) else { return Ok(()) };
        let (checkout, order) = (checkout_of(&cart), ordered(&cart));
        // How many of the ordered pieces were there at every time since.
        let mut left = pieces(Some(&cart));
        let mut now = Some(cart);
        for one in &since {
            now = after(now, std::slice::from_ref(one));
            let present = pieces(now.as_ref());
            left.iter_mut().for_each(|(sku, old)| *old = (*old).min(present.get(sku).copied().unwrap_or(0)));
        }
        let now = now.unwrap();
        let taken = take(&now, &checkout, &order, &context()).unwrap_or_else(|| now.clone());
        for (sku, present) in pieces(Some(&now)) {
            let expected = present - left.get(&sku).copied().unwrap_or(0);
            prop_assert_eq!(pieces(Some(&taken)).get(&sku).copied().unwrap_or(0), expected, "{}", sku);
        }
        prop_assert_eq!(taken.version, now.version + i64::from(taken.lines != now.lines));
    }

    /// An order of fewer pieces than the cart has takes no more.
    #[test]
    fn no_more_leaves_than_was_ordered(before in prop::collection::vec(any_change(), 1..20), pieces_ordered in 1..=9_i64) {
        let Some(cart) = after(None, &before) else { return Ok(()) };
        let order = [(sku(1), quantity(pieces_ordered))];
        let taken = take(&cart, &checkout_of(&cart), &order, &context()).unwrap_or_else(|| cart.clone());
        let (mut expected, was) = (pieces(Some(&cart)), pieces(Some(&cart)));
        if let Some(present) = was.get(&sku(1)) {
            match present - pieces_ordered {
                rest if rest > 0 => drop(expected.insert(sku(1), rest)),
                _ => drop(expected.remove(&sku(1))),
            }
        }
        prop_assert_eq!(pieces(Some(&taken)), expected);
    }

    #[test]
    fn two_carts_make_the_larger_quantity_of_each_product(
        ours in prop::collection::vec(any_change(), 0..15),
        theirs in prop::collection::vec(any_change(), 0..15),
    ) {
        let (target, source) = (after(None, &ours), after(None, &theirs));
        let (had, brought) = (pieces(target.as_ref()), pieces(source.as_ref()));
        let merged = merge(target.as_ref(), source.as_ref(), &context()).unwrap();
        let Some((merged, emptied)) = merged else {
            prop_assert!(brought.is_empty());
            return Ok(());
        };
        let skus: BTreeSet<&Sku> = had.keys().chain(brought.keys()).collect();
        let of = |side: &BTreeMap<Sku, i64>, sku: &Sku| side.get(sku).copied().unwrap_or(0);
        let expected: BTreeMap<Sku, i64> =
            skus.into_iter().map(|sku| (sku.clone(), of(&had, sku).max(of(&brought, sku)))).collect();
        prop_assert_eq!(pieces(Some(&merged)), expected);
        prop_assert_eq!(emptied.lines.len(), 0);
        prop_assert_eq!(emptied.version, source.as_ref().map_or(0, |source| source.version) + 1);
        prop_assert_eq!(merged.version, target.as_ref().map_or(0, |target| target.version) + 1);
        // Once more, nothing comes.
        prop_assert_eq!(merge(Some(&merged), Some(&emptied), &context()).unwrap(), None);
    }
}

#[test]
fn what_does_not_fit_into_one_cart_is_not_merged() {
    let target = after(None, &[add(1, 1), add(2, 1)]);
    let source = after(None, &[add(3, 1), add(4, 1)]);
    assert_eq!(merge(target.as_ref(), source.as_ref(), &context()).unwrap_err().reason, "CART_LINE_LIMIT_REACHED");
}

proptest! {
    /// What an order has taken out and puts back is what was there, in whatever way the cart has changed meanwhile.
    #[test]
    fn what_is_taken_and_put_back_is_there_as_before_beside_what_came_since(
        before in prop::collection::vec(any_change(), 1..15),
        since in prop::collection::vec(any_change(), 0..7),
    ) {
        let Some(cart) = after(None, &before) else { return Ok(()) };
        let order = ordered(&cart);
        let taken = take(&cart, &checkout_of(&cart), &order, &context()).unwrap_or_else(|| cart.clone());
        let now = after(Some(taken), &since).unwrap();
        let back = put_back(Some(&now), &order, &context());
        let mut expected = pieces(Some(&now));
        for (sku, quantity) in &order {
            let present = expected.entry(sku.clone()).or_insert(0);
            *present = (*present + quantity.get()).min(LIMITS.quantity_max);
        }
        prop_assert_eq!(pieces(Some(back.as_ref().unwrap_or(&now))), expected);
        if let Some(back) = back {
            prop_assert_eq!(back.version, now.version + 1);
            // They are pieces of now: the same order does not take them once more.
            prop_assert_eq!(take(&back, &checkout_of(&cart), &order, &context()), None);
        }
    }
}

#[test]
fn what_is_put_back_makes_a_cart_where_there_is_none_and_is_left_out_where_there_is_no_room() {
    let order = [(sku(1), quantity(2)), (sku(2), quantity(1))];
    let made = put_back(None, &order, &context()).unwrap();
    assert_eq!(
        (made.cart_id, made.version, pieces(Some(&made))),
        (CART, 1, BTreeMap::from([(sku(1), 2), (sku(2), 1)]))
    );
    let full = after(None, &[add(1, 50), add(3, 1), add(4, 1)]).unwrap();
    assert_eq!(put_back(Some(&full), &order, &context()), None);
    let nearly = after(None, &[add(1, 49)]).unwrap();
    let back = put_back(Some(&nearly), &order, &context()).unwrap();
    assert_eq!(pieces(Some(&back)), BTreeMap::from([(sku(1), 50), (sku(2), 1)]));
}
