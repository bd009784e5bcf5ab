//! Given products, when a command comes, then its event and the products after it.

use openorder_types::{Currency, Money};
use proptest::prelude::*;

use super::*;
use crate::domain::{Description, DisplayName, Field, InitialStock, Price};

fn at(second: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn price_in(minor_units: i64, currency: &str) -> Price {
    Price::parse(Money::new(minor_units, Currency::parse(currency).unwrap())).unwrap()
}

fn price(minor_units: i64) -> Price {
    price_in(minor_units, "EUR")
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn create(id: u128, text: &str) -> Command {
    Command::Create(NewProduct {
        product_id: Uuid::from_u128(id),
        sku: sku(text),
        display_name: DisplayName::parse("Keyboard").unwrap(),
        description: Description::default(),
        price: price(1_000),
        initial_stock: InitialStock::parse(5).unwrap(),
    })
}

fn key(text: &str) -> ProductKey {
    ProductKey::Sku(sku(text))
}

fn update(changes: Changes, expected_version: Option<i64>) -> Command {
    Command::Update { key: key("A"), changes, expected_version }
}

fn reprice(price: Price) -> Command {
    update(Changes { price: Some(price), ..Changes::default() }, None)
}

fn delete(text: &str) -> Command {
    Command::Delete { key: key(text) }
}

/// Decides and applies one command at this second; its event, or the reason of its rejection. The second is the number of
/// a product that is added.
fn run(state: &mut State, command: &Command, second: i64) -> Result<Option<Event>, &'static str> {
    let context = Decision { now: at(second), product_number: second };
    let event = decide(state, command, &context).map_err(|rejection| rejection.reason)?;
    if let Some(event) = &event {
        evolve(state, event);
    }
    Ok(event)
}

/// Products after these commands, the first of which is decided in second 1.
fn given(commands: &[Command]) -> State {
    let mut state = State::default();
    for (command, second) in commands.iter().zip(1..) {
        run(&mut state, command, second).unwrap();
    }
    state
}

fn product(state: &State, id: u128) -> &Product {
    state.product(Uuid::from_u128(id)).unwrap()
}

#[test]
fn a_new_product_is_version_one_and_has_the_number_that_was_drawn() {
    let state = given(&[create(7, "A")]);
    let made = product(&state, 7);
    assert!(made.is_live());
    assert_eq!((made.version, made.product_number, made.create_time, made.update_time), (1, 1, at(1), at(1)));
}

#[test]
fn a_sku_belongs_to_one_product_until_that_is_deleted() {
    let mut state = given(&[create(1, "A")]);
    let taken = decide(&state, &create(2, "A"), &Decision { now: at(2), product_number: 2 }).unwrap_err();
    assert_eq!(taken.reason, "SKU_ALREADY_EXISTS");
    assert!(taken.metadata.contains(&("product_id", Uuid::from_u128(1).to_string())));
    run(&mut state, &delete("A"), 3).unwrap();
    run(&mut state, &create(2, "A"), 4).unwrap();
    assert_eq!(state.find(&key("A")).unwrap().product_id, Uuid::from_u128(2));
    assert!(product(&state, 1).product_number < product(&state, 2).product_number);
}

#[test]
fn only_what_has_another_value_counts_as_changed() {
    let mut state = given(&[create(1, "A")]);
    let name = product(&state, 1).display_name.clone();
    let changes = Changes { display_name: Some(name), price: Some(price(900)), ..Changes::default() };
    let event = run(&mut state, &update(changes, Some(1)), 2).unwrap().unwrap();
    let Event::Updated { changes, .. } = event else { panic!("{event:?}") };
    assert_eq!(changes.fields(), [Field::Price]);
    let changed = product(&state, 1);
    assert_eq!((changed.version, changed.update_time, changed.price), (2, at(2), price(900)));
}

#[test]
fn the_same_amount_in_another_currency_is_another_price() {
    let mut state = given(&[create(1, "A")]);
    for currency in ["KRW", "KWD", "EUR"] {
        assert!(run(&mut state, &reprice(price_in(1_000, currency)), 2).unwrap().is_some(), "{currency}");
        assert_eq!(run(&mut state, &reprice(price_in(1_000, currency)), 3), Ok(None), "{currency}");
        assert_eq!(product(&state, 1).price, price_in(1_000, currency));
    }
}

#[test]
fn the_same_values_again_change_nothing() {
    let mut state = given(&[create(1, "A")]);
    let before = state.clone();
    assert_eq!(run(&mut state, &reprice(price(1_000)), 2), Ok(None));
    assert_eq!(run(&mut state, &update(Changes::default(), None), 2), Ok(None));
    assert_eq!(state, before);
}

#[test]
fn another_version_than_expected_is_rejected_and_named() {
    let state = given(&[create(1, "A")]);
    let stale = update(Changes::default(), Some(2));
    let rejection = decide(&state, &stale, &Decision { now: at(2), product_number: 2 }).unwrap_err();
    assert_eq!(rejection.reason, "PRODUCT_VERSION_MISMATCH");
    assert!(rejection.metadata.contains(&("version", "1".to_owned())));
}

#[test]
fn a_deleted_product_changes_no_more_and_is_found_by_its_id_alone() {
    let mut state = given(&[create(1, "A"), delete("A")]);
    assert_eq!((product(&state, 1).version, product(&state, 1).delete_time), (2, Some(at(2))));
    let before = state.clone();
    let by_id = ProductKey::Id(Uuid::from_u128(1));
    assert_eq!(run(&mut state, &Command::Delete { key: by_id.clone() }, 3), Err("PRODUCT_DELETED"));
    let changes = Changes { price: Some(price(1)), ..Changes::default() };
    let change = Command::Update { key: by_id, changes, expected_version: None };
    assert_eq!(run(&mut state, &change, 3), Err("PRODUCT_DELETED"));
    assert_eq!(run(&mut state, &delete("A"), 3), Err("PRODUCT_NOT_FOUND"));
    assert_eq!(run(&mut state, &reprice(price(1)), 3), Err("PRODUCT_NOT_FOUND"));
    assert_eq!(state, before);
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let change = (proptest::option::of(1_i64..4), proptest::option::of(0_u8..3), proptest::option::of(1_i64..5));
    let change = change.prop_map(|(minor_units, name, expected)| {
        let changes = Changes {
            price: minor_units.map(price),
            display_name: name.map(|name| DisplayName::parse(&format!("n{name}")).unwrap()),
            description: None,
        };
        update(changes, expected)
    });
    let added = (1_u128..1_000).prop_map(|id| create(id, "A"));
    proptest::collection::vec(prop_oneof![9 => change, 1 => Just(delete("A")), 2 => added], 0..30)
}

proptest! {
    /// Whatever the history: a rejection changes nothing, each event is the next version of its product, identity, SKU and
    /// making never change, and one product at most has the SKU.
    #[test]
    fn versions_count_events(commands in commands()) {
        let mut state = State::default();
        for (command, second) in commands.iter().zip(1..) {
            let before = state.clone();
            if matches!(command, Command::Create(new) if before.product(new.product_id).is_some()) {
                continue; // Ids are unique.
            }
            let Ok(Some(event)) = run(&mut state, command, second) else {
                prop_assert_eq!(&state, &before);
                continue;
            };
            let now = state.product(event.product_id()).unwrap();
            prop_assert_eq!(now.update_time, at(second));
            let Some(was) = before.product(event.product_id()) else {
                prop_assert_eq!(now.version, 1);
                continue;
            };
            prop_assert!(was.is_live() && was != now);
            prop_assert_eq!(now.version, was.version + 1);
            prop_assert_eq!(
                (now.product_id, &now.sku, now.create_time, now.initial_stock, now.product_number),
                (was.product_id, &was.sku, was.create_time, was.initial_stock, was.product_number)
            );
            prop_assert!(state.products.values().filter(|one| one.is_live()).count() <= 1);
        }
    }
}
