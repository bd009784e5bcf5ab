//! Carts are changed by many at once, within limits, for a time.

use std::time::Duration;

use openorder_proto::cart::v1::{AddItemRequest, CartLineState, UpdateItemRequest};
use openorder_testing::eventually;
use tonic::Code;
use uuid::Uuid;

use crate::world::{
    BOUND, Bench, add, clear, customer, euros, get, get_of_visitor, id, is, lines, operator, pieces, pieces_of_visitor,
    redis, refusal, remove, stranger, until_lines, update,
};

fn set(customer_id: &str, sku: &str, quantity: i32) -> UpdateItemRequest {
    UpdateItemRequest {
        request_id: id(),
        customer_id: customer_id.to_owned(),
        sku: sku.to_owned(),
        quantity,
        ..UpdateItemRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_lose_nothing_whichever_instance_makes_them() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    const CHANGES: i32 = 40;
    let ada = customer("ada");
    let changes = (0..CHANGES).map(|number| {
        let client = if number % 2 == 0 { &first.client } else { &second.client };
        let sku = if number % 4 < 2 { "TEA" } else { "CUP" };
        let (request, ada) = (pieces("ada", sku, 1 + number % 3), ada.clone());
        async move {
            // Whoever is told that others were faster comes again with the same request.
            loop {
                match add(client, &ada, request.clone()).await {
                    Err(status) if status.code() == Code::Aborted => {
                        assert_eq!(refusal::<()>(Err(status)), is(Code::Aborted, "CART_BUSY"));
                    }
                    answer => break answer.map(drop),
                }
            }
        }
    });
    for answer in futures::future::join_all(changes).await {
        answer.unwrap();
    }
    let cart = get(&first.client, &ada, "ada").await.unwrap();
    let sum =
        |skip: i32| (0..CHANGES).filter(|number| number % 4 / 2 == skip).map(|number| 1 + number % 3).sum::<i32>();
    let mut found = lines(&cart);
    found.sort_unstable();
    assert_eq!(found, [("CUP", sum(1)), ("TEA", sum(0))]);
    assert_eq!(cart.version, i64::from(CHANGES), "one version a change");
    bench.close([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_that_expect_one_version_one_is_made() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    let ada = customer("ada");
    let made = add(&first.client, &ada, pieces("ada", "TEA", 1)).await.unwrap();
    assert_eq!((made.version, made.cart_id.len()), (1, 36));
    let changes = (0..10).map(|number| {
        let client = if number % 2 == 0 { &first.client } else { &second.client };
        add(client, &ada, AddItemRequest { expected_version: 1, ..pieces("ada", "CUP", number + 1) })
    });
    let answers = futures::future::join_all(changes).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for answer in refused {
        assert_eq!(refusal(answer), is(Code::Aborted, "CART_VERSION_MISMATCH"));
    }
    let cart = get(&second.client, &ada, "ada").await.unwrap();
    assert_eq!(Some(&cart.lines), made.into_iter().next().map(|answer| answer.unwrap().lines).as_ref());
    bench.close([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_again_changes_nothing_and_its_id_stands_for_nothing_else() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada) = (&instance.client, customer("ada"));
    let request = pieces("ada", "TEA", 2);
    let answers = (0..10).map(|_| add(client, &ada, request.clone()));
    for answer in futures::future::join_all(answers).await {
        assert_eq!(lines(&answer.unwrap()), [("TEA", 2)]);
    }
    update(client, &ada, set("ada", "TEA", 9)).await.unwrap();
    let again = add(client, &ada, request.clone()).await.unwrap();
    assert_eq!((lines(&again), again.version), (vec![("TEA", 9)], 2), "the cart as it stands by then");
    let other = add(client, &ada, AddItemRequest { quantity: 3, ..request.clone() }).await;
    assert_eq!(refusal(other), is(Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let as_set = UpdateItemRequest { request_id: request.request_id.clone(), ..set("ada", "TEA", 2) };
    assert_eq!(refusal(update(client, &ada, as_set).await), is(Code::AlreadyExists, "REQUEST_ID_REUSED"));
    // Another caller's ids are its own, and so are those of another cart.
    let by_operator = add(client, &operator(), request.clone()).await.unwrap();
    assert_eq!(lines(&by_operator), [("TEA", 11)]);
    let of_bob = AddItemRequest { customer_id: "bob".to_owned(), ..request };
    assert_eq!(lines(&add(client, &operator(), of_bob).await.unwrap()), [("TEA", 2)]);
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cart_is_asked_for_is_done_or_refused_with_its_reason() {
    let bench = Bench::start().await;
    let instance = bench
        .instance_with(|settings| {
            settings.lines_max = 2;
            settings.quantity_max = 10;
        })
        .await;
    let (client, ada) = (&instance.client, customer("ada"));
    bench.products.sell("POT", 2_000);
    let nobody = get(client, &ada, "ada").await.unwrap();
    assert_eq!((nobody.version, nobody.cart_id.as_str(), nobody.customer_id.as_str()), (0, "", "ada"));
    let missing = update(client, &ada, set("ada", "TEA", 1)).await;
    assert_eq!(refusal(missing), is(Code::NotFound, "CART_LINE_NOT_FOUND"));
    let unknown = add(client, &ada, pieces("ada", "NONE", 1)).await;
    assert_eq!(refusal(unknown), is(Code::FailedPrecondition, "UNKNOWN_SKU"));
    add(client, &ada, pieces("ada", "TEA", 10)).await.unwrap();
    let more = add(client, &ada, pieces("ada", "TEA", 1)).await;
    assert_eq!(refusal(more), is(Code::FailedPrecondition, "CART_QUANTITY_LIMIT_REACHED"));
    add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    let third = add(client, &ada, pieces("ada", "POT", 1)).await;
    assert_eq!(refusal(third), is(Code::FailedPrecondition, "CART_LINE_LIMIT_REACHED"));
    let wrong = add(client, &ada, AddItemRequest::default()).await;
    assert_eq!(refusal(wrong), is(Code::InvalidArgument, "INVALID_ARGUMENT"));
    assert_eq!(lines(&update(client, &ada, set("ada", "TEA", 4)).await.unwrap()), [("TEA", 4), ("CUP", 1)]);
    assert_eq!(lines(&remove(client, &ada, "ada", "TEA").await.unwrap()), [("CUP", 1)]);
    assert_eq!(lines(&remove(client, &ada, "ada", "TEA").await.unwrap()), [("CUP", 1)]);
    let cleared = clear(client, &ada, "ada").await.unwrap();
    assert_eq!((lines(&cleared), cleared.total.as_ref(), cleared.version), (vec![], None, 5));
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_no_other_cart_and_a_visitors_is_open_to_whoever_knows_its_id() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let client = &instance.client;
    add(client, &customer("ada"), pieces("ada", "TEA", 1)).await.unwrap();
    let mismatch = is(Code::PermissionDenied, "CUSTOMER_MISMATCH");
    for call in [customer("bob"), stranger()] {
        assert_eq!(refusal(get(client, &call, "ada").await), mismatch);
        assert_eq!(refusal(add(client, &call, pieces("ada", "TEA", 1)).await), mismatch);
        assert_eq!(refusal(update(client, &call, set("ada", "TEA", 5)).await), mismatch);
        assert_eq!(refusal(remove(client, &call, "ada", "TEA").await), mismatch);
        assert_eq!(refusal(clear(client, &call, "ada").await), mismatch);
    }
    assert_eq!(lines(&get(client, &operator(), "ada").await.unwrap()), [("TEA", 1)]);
    let visitor_id = Uuid::new_v4();
    let made = add(client, &stranger(), pieces_of_visitor(visitor_id, "CUP", 2)).await.unwrap();
    assert_eq!((made.visitor_id.as_str(), made.customer_id.as_str()), (visitor_id.to_string().as_str(), ""));
    let seen = get_of_visitor(client, &customer("bob"), visitor_id).await.unwrap();
    assert_eq!(lines(&seen), [("CUP", 2)]);
    assert!(get_of_visitor(client, &stranger(), Uuid::new_v4()).await.unwrap().lines.is_empty());
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_ends_when_nobody_looks_at_it_for_its_time() {
    let bench = Bench::start().await;
    let instance = bench
        .instance_with(|settings| {
            settings.customer_cart_keep_ms = 2_000;
            settings.visitor_cart_keep_ms = 600_000;
        })
        .await;
    let (client, ada) = (&instance.client, customer("ada"));
    let made = add(client, &ada, pieces("ada", "TEA", 1)).await.unwrap();
    let visitor_id = Uuid::new_v4();
    add(client, &stranger(), pieces_of_visitor(visitor_id, "TEA", 1)).await.unwrap();
    let expires = made.expire_time.unwrap().seconds - made.update_time.unwrap().seconds;
    assert!((1..=3).contains(&expires), "{expires}");
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("TEA", 1)], "looked at, it is kept");
    }
    let mut connection = redis().await;
    for key in bench.keys().await.into_iter().filter(|key| !key.ends_with(":mark")) {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!(left > 0, "{key} would stay for ever");
    }
    eventually("the cart ends in Redis", BOUND, || async {
        let keys = bench.keys().await;
        (!keys.iter().any(|key| key.ends_with(":customer:ada"))).then_some(())
    })
    .await;
    let next = add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    assert_eq!((lines(&next), next.version), (vec![("CUP", 1)], 1));
    assert_ne!(next.cart_id, made.cart_id);
    assert_eq!(lines(&get_of_visitor(client, &stranger(), visitor_id).await.unwrap()), [("TEA", 1)]);
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_shows_the_prices_of_now_and_no_product_service_keeps_it_from_being_shown() {
    let bench = Bench::start().await;
    let instance = bench.instance_with(|settings| settings.price_timeout_ms = 500).await;
    let (client, ada) = (&instance.client, customer("ada"));
    add(client, &ada, pieces("ada", "TEA", 2)).await.unwrap();
    let cart = add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    assert_eq!((cart.total.clone(), cart.price_time.is_some()), (Some(euros(17, 0)), true));
    bench.products.sell("TEA", 400);
    let dearer = get(client, &ada, "ada").await.unwrap();
    assert_eq!(dearer.total, Some(euros(18, 0)));
    assert!(dearer.price_time.unwrap().seconds >= cart.price_time.unwrap().seconds);
    bench.products.end("CUP");
    let gone = get(client, &ada, "ada").await.unwrap();
    let states: Vec<CartLineState> = gone.lines.iter().map(|line| line.state()).collect();
    assert_eq!((states, gone.total), (vec![CartLineState::Priced, CartLineState::NotSold], None));
    bench.products.delay(Duration::from_secs(5));
    let began = std::time::Instant::now();
    let silent = add(client, &ada, pieces("ada", "ANYTHING", 1)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4));
    assert!(silent.lines.iter().all(|line| line.state() == CartLineState::NotPriced && line.unit_price.is_none()));
    assert_eq!((silent.lines.len(), silent.total, silent.price_time), (3, None, None));
    bench.close([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cart_of_an_erased_user_is_forgotten_and_no_other() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let client = &instance.client;
    for name in ["ada", "bob"] {
        add(client, &customer(name), pieces(name, "TEA", 2)).await.unwrap();
    }
    bench.erase("ada").await;
    until_lines(client, "ada", &[]).await;
    assert_eq!(lines(&get(client, &customer("bob"), "bob").await.unwrap()), [("TEA", 2)]);
    bench.erase("ada").await;
    bench.erase("nobody").await;
    add(client, &customer("bob"), pieces("bob", "CUP", 1)).await.unwrap();
    until_lines(client, "bob", &[("TEA", 2), ("CUP", 1)]).await;
    bench.close([instance]).await;
}
