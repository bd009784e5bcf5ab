//! Results that the version before kept, and instances of it that still run: a request id is done once all the same.

use openorder_messaging::{Committer, RequestKey};
use openorder_telemetry::TraceContext;
use openorder_testing::World;
use openorder_types::CallError;

use crate::common::{Add, Added, Instance, Ledger, foreseen, request, start};

const OLD: &str = "insert into request_result (caller, request_id, method, fingerprint, reply, created_at) \
                   values ($1, $2, 'Add', $3, $4, now())";

/// What an instance of the version before does at the end of a transaction.
async fn keep_as_before(instance: &Instance, caller: &str, id: &str, number: i64) -> Result<(), sqlx::Error> {
    let query = sqlx::query(OLD).bind(caller).bind(id).bind(vec![1_u8; 32]);
    query.bind(number.to_be_bytes().to_vec()).execute(instance.pool()).await.map(drop)
}

async fn submit(committer: &Committer<Ledger>, key: RequestKey, number: i64) -> Result<Added, CallError> {
    let command = Add { key: "k".to_owned(), number };
    committer.submit(Some(key), command, TraceContext::default(), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_before_the_upgrade_is_answered_again() {
    let world = World::new();
    let before = start(&world, world.separate_role("ledger"), "ledger").await;
    sqlx::query("alter table request_result disable trigger all").execute(before.pool()).await.unwrap();
    keep_as_before(&before, "anna", "r1", 1).await.unwrap();
    keep_as_before(&before, "anna", "r2", 2).await.unwrap();
    sqlx::query("alter table request_result enable trigger all").execute(before.pool()).await.unwrap();
    before.stop().await;
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    assert_eq!(submit(&committer, request("anna", "r1", 1), 10).await, Ok(Added(1)));
    assert_eq!(submit(&committer, foreseen("anna", "r2", 1, &Added(20)), 20).await, Ok(Added(2)));
    let Err(CallError::Rejected(reused)) = submit(&committer, request("anna", "r1", 2), 30).await else {
        panic!("accepted")
    };
    assert_eq!(reused.reason, "REQUEST_ID_REUSED");
    assert_eq!(committer.recall(&request("anna", "r2", 1)).await, Ok(Some(Added(2))));
    assert_eq!(instance.count("ledger").await, 0);
    assert_eq!(submit(&committer, request("bert", "r1", 2), 40).await, Ok(Added(40)), "another caller's");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_of_the_version_before_keeps_is_found_and_it_does_nothing_that_was_done_here() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    // Keys are made here and by the database, in one way.
    for (caller, id) in [("anna", "r1"), ("\u{e4}nne \u{1f600}", "r-1:2.3"), ("", "r1")] {
        keep_as_before(&instance, caller, id, 7).await.unwrap();
        assert_eq!(submit(&committer, request(caller, id, 1), 1).await, Ok(Added(7)), "{caller} {id}");
        assert_eq!(submit(&committer, foreseen(caller, id, 1, &Added(1)), 1).await, Ok(Added(7)), "{caller} {id}");
    }
    assert_eq!(instance.count("ledger").await, 0);
    // The other way round its transaction fails, as if the database were away.
    assert_eq!(submit(&committer, foreseen("anna", "new", 1, &Added(8)), 8).await, Ok(Added(8)));
    let refused = keep_as_before(&instance, "anna", "new", 9).await.unwrap_err();
    let code = refused.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some("57P03"), "{refused}");
    world.close().await;
}
