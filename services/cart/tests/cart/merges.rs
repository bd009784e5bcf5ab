//! A visitor signs in.

use openorder_proto::cart::v1::{Cart, MergeCartRequest};
use tonic::Code;
use uuid::Uuid;

use crate::world::{
    Bench, add, customer, get, get_of_visitor, id, is, lines, merge, pieces, pieces_of_visitor, refusal, stranger,
};

fn sign_in(visitor_id: Uuid, customer_id: &str) -> MergeCartRequest {
    MergeCartRequest { request_id: id(), visitor_id: visitor_id.to_string(), customer_id: customer_id.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customers_cart_takes_the_larger_quantity_and_the_visitors_is_empty_at_once() {
    let bench = Bench::start().await;
    let instance = bench.instance().await;
    let (client, ada, visitor_id) = (&instance.client, customer("ada"), Uuid::new_v4());
    bench.products.sell("POT", 2_000);
    add(client, &ada, pieces("ada", "TEA", 5)).await.unwrap();
    add(client, &ada, pieces("ada", "CUP", 1)).await.unwrap();
    for (sku, quantity) in [("POT", 1), ("TEA", 3), ("CUP", 4)] {
        add(client, &stranger(), pieces_of_visitor(visitor_id, sku, quantity)).await.unwrap();
    }
    let request = sign_in(visitor_id, "ada");
    let merged = merge(client, &ada, request.clone()).await.unwrap();
    assert_eq!(lines(&merged), [("TEA", 5), ("CUP", 4), ("POT", 1)]);
    let emptied = get_of_visitor(client, &stranger(), visitor_id).await.unwrap();
    assert_eq!((lines(&emptied), emptied.version), (vec![], 4));
    // Whatever the visitor's page does after that, the request that comes again merges nothing.
    add(client, &stranger(), pieces_of_visitor(visitor_id, "TEA", 9)).await.unwrap();
    assert_eq!(lines(&merge(client, &ada, request).await.unwrap()), [("TEA", 5), ("CUP", 4), ("POT", 1)]);
    assert_eq!(lines(&merge(client, &ada, sign_in(visitor_id, "ada")).await.unwrap())[0], ("TEA", 9));
    let empty = merge(client, &ada, sign_in(Uuid::new_v4(), "ada")).await.unwrap();
    assert_eq!(lines(&empty)[0], ("TEA", 9));
    bench.close([instance]).await;
}

fn cups(cart: &Cart) -> i32 {
    cart.lines.iter().find(|line| line.sku == "CUP").map_or(0, |line| line.quantity)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_at_the_same_time_as_changes_of_both_carts_loses_nothing() {
    let bench = Bench::start().await;
    let (first, second) = (bench.instance().await, bench.instance().await);
    for round in 0..10 {
        let (visitor_id, name) = (Uuid::new_v4(), format!("ada-{round}"));
        let own = customer(&name);
        add(&first.client, &stranger(), pieces_of_visitor(visitor_id, "TEA", 1)).await.unwrap();
        let stranger = stranger();
        let (merged, late, other) = tokio::join!(
            merge(&first.client, &own, sign_in(visitor_id, &name)),
            add(&second.client, &stranger, pieces_of_visitor(visitor_id, "CUP", 2)),
            add(&second.client, &own, pieces(&name, "CUP", 1)),
        );
        let (_, _, _) = (merged.unwrap(), late.unwrap(), other.unwrap());
        let of_visitor = get_of_visitor(&first.client, &stranger, visitor_id).await.unwrap();
        let of_customer = get(&first.client, &own, &name).await.unwrap();
        assert!(lines(&of_customer).contains(&("TEA", 1)));
        // What came too late to be merged is with the visitor still.
        match cups(&of_visitor) {
            2 => assert_eq!(cups(&of_customer), 1),
            0 => assert!((2..=3).contains(&cups(&of_customer)), "{of_customer:?}"),
            wrong => panic!("{wrong} cups"),
        }
    }
    bench.close([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_stays_where_it_is_and_nobody_merges_into_anothers_cart() {
    let bench = Bench::start().await;
    let instance = bench.instance_with(|settings| settings.lines_max = 1).await;
    let (client, ada, visitor_id) = (&instance.client, customer("ada"), Uuid::new_v4());
    add(client, &ada, pieces("ada", "TEA", 1)).await.unwrap();
    add(client, &stranger(), pieces_of_visitor(visitor_id, "CUP", 1)).await.unwrap();
    let refused = merge(client, &ada, sign_in(visitor_id, "ada")).await;
    assert_eq!(refusal(refused), is(Code::FailedPrecondition, "CART_LINE_LIMIT_REACHED"));
    assert_eq!(lines(&get(client, &ada, "ada").await.unwrap()), [("TEA", 1)]);
    assert_eq!(lines(&get_of_visitor(client, &stranger(), visitor_id).await.unwrap()), [("CUP", 1)]);
    let foreign = merge(client, &customer("bob"), sign_in(visitor_id, "ada")).await;
    assert_eq!(refusal(foreign), is(Code::PermissionDenied, "CUSTOMER_MISMATCH"));
    bench.close([instance]).await;
}
