//! Documents are built anew, beside those in use, while events flow and orders are looked up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use openorder_history::HistorySettings;
use openorder_proto::history::v1::{
    CancelRebuildRequest, GetRebuildRequest, Rebuild, RebuildState, StartRebuildRequest,
};
use openorder_testing::eventually;
use sqlx::{PgPool, Row};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    story::Story,
    world::{BOUND, Client, Shop, as_customer, as_operator, becomes, get, is, refusal},
};

async fn begin(client: &Client, request_id: &str) -> Result<Rebuild, Status> {
    let request = StartRebuildRequest { request_id: request_id.to_owned(), reason: "it is torn".to_owned() };
    let answer = client.clone().start_rebuild(as_operator().request(request)).await?;
    Ok(answer.into_inner().rebuild.unwrap())
}

async fn look(client: &Client) -> Rebuild {
    let request = as_operator().request(GetRebuildRequest { rebuild_id: String::new() });
    client.clone().get_rebuild(request).await.unwrap().into_inner().rebuild.unwrap()
}

async fn comes_to(client: &Client, state: RebuildState) -> Rebuild {
    let reached = || async { Some(look(client).await).filter(|rebuild| rebuild.state() == state) };
    eventually(&format!("the rebuild is {}", state.as_str_name()), BOUND, reached).await
}

/// All documents of a half, as they are stored.
async fn documents(pool: &PgPool, half: &str) -> BTreeMap<Uuid, Vec<u8>> {
    let sql = format!("select order_id, body from order_view_{half} order by order_id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn told(shop: &Shop, stories: &[Story]) {
    for story in stories {
        for events in story.whole().into_iter().chain([story.shipped("TRACK-1")]) {
            shop.append(events).await;
        }
    }
}

async fn settled(client: &Client, stories: &[Story]) {
    for story in stories {
        let whole = |view: &openorder_proto::history::v1::OrderView| {
            view.order_version == 4
                && view.payment.is_some()
                && view.shipment.as_ref().is_some_and(|shipment| shipment.version == 2)
                && view.messages.iter().any(|message| message.version == 2)
        };
        becomes(client, &story.order_id, "everything is in the document", whole).await;
    }
}

fn stories(count: usize) -> Vec<Story> {
    (0..count).map(|_| Story::of("anna", "CHAIR")).collect()
}

/// Small parts, and few a second: it can be watched.
fn slow(settings: &mut HistorySettings) {
    (settings.rebuild_page_size, settings.rebuild_events_per_second_max) = (10, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_while_events_flow_ends_as_a_fresh_service_does() {
    let (shop, client) = Shop::open_with(slow).await;
    let shop = Arc::new(shop);
    let old = stories(40);
    told(&shop, &old).await;
    settled(&client, &old).await;
    let pool = shop.database("history").await;
    // Something is wrong with the documents that are in use.
    sqlx::query("update order_view_a set body = '', status = 99").execute(&pool).await.unwrap();
    sqlx::query("delete from order_view_a where order_id = $1")
        .bind(Uuid::parse_str(&old[0].order_id).unwrap())
        .execute(&pool)
        .await
        .unwrap();

    let flows = Arc::new(AtomicBool::new(true));
    let flow = {
        let (shop, flows) = (Arc::clone(&shop), Arc::clone(&flows));
        tokio::spawn(async move {
            let mut new = Vec::new();
            while flows.load(Ordering::SeqCst) {
                let story = Story::of("bert", "TABLE");
                told(&shop, std::slice::from_ref(&story)).await;
                new.push(story);
            }
            new
        })
    };
    let rebuild = begin(&client, "rebuild-1").await.unwrap();
    assert_eq!(begin(&client, "rebuild-1").await.unwrap().rebuild_id, rebuild.rebuild_id, "the same request");
    assert_eq!(refusal(begin(&client, "rebuild-2").await), is(Code::FailedPrecondition, "REBUILD_UNDER_WAY"));
    let reading = comes_to(&client, RebuildState::Reading).await;
    assert_eq!(reading.sources.len(), 4);
    // Queries go on: the new half is not in use.
    let torn = get(&client, as_operator(), &old[1].order_id).await;
    assert!(torn.is_err() || torn.unwrap().customer_id.is_empty());
    let done = comes_to(&client, RebuildState::Completed).await;
    assert!(done.end_time.is_some() && done.detail.is_empty(), "{done:?}");
    for source in &done.sources {
        assert!(source.is_read && source.events_total > 0 && source.events_read >= source.events_total, "{source:?}");
        assert_eq!(source.events_skipped, 0);
    }
    flows.store(false, Ordering::SeqCst);
    let new = flow.await.unwrap();
    assert!(!new.is_empty());
    settled(&client, &old).await;
    settled(&client, &new).await;
    assert!(documents(&pool, "a").await.is_empty(), "the old ones are gone");

    let fresh = shop.start(shop.world.role("history-two"), |_| {}).await;
    settled(&fresh, &old).await;
    settled(&fresh, &new).await;
    let (built, read) = (documents(&pool, "b").await, documents(&shop.database("history-two").await, "a").await);
    assert_eq!(built.len(), old.len() + new.len());
    assert!(built == read, "byte for byte");
    Arc::into_inner(shop).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_broken_off_goes_on_where_it_was() {
    let shop = Shop::closed().await;
    let role = shop.world.separate_role("history");
    let client = shop.start(role.clone(), slow).await;
    let old = stories(60);
    told(&shop, &old).await;
    settled(&client, &old).await;
    begin(&client, "rebuild-1").await.unwrap();
    let far = || async { Some(look(&client).await).filter(|rebuild| rebuild.sources[0].events_read >= 60) };
    let before = eventually("it is under way", BOUND, far).await;
    assert_eq!(before.state(), RebuildState::Reading);
    role.shutdown.trigger();
    role.tasks.drain(Duration::from_secs(20)).await;
    // Meanwhile orders come that nobody hears of.
    let meanwhile = stories(10);
    told(&shop, &meanwhile).await;

    let client = shop.start(shop.world.role("history"), slow).await;
    let after = look(&client).await;
    assert!(after.sources[0].events_read >= before.sources[0].events_read, "{after:?}");
    assert!(get(&client, as_operator(), &old[0].order_id).await.is_ok(), "half a view is never in use");
    let done = comes_to(&client, RebuildState::Completed).await;
    assert_eq!(done.rebuild_id, before.rebuild_id);
    settled(&client, &old).await;
    settled(&client, &meanwhile).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_may_be_called_off_and_the_old_documents_stay() {
    let (shop, client) = Shop::open_with(slow).await;
    let old = stories(40);
    told(&shop, &old).await;
    settled(&client, &old).await;
    let none = client.clone().get_rebuild(as_operator().request(GetRebuildRequest::default())).await;
    assert_eq!(refusal(none), is(Code::NotFound, "REBUILD_NOT_FOUND"));
    let rebuild = begin(&client, "rebuild-1").await.unwrap();
    comes_to(&client, RebuildState::Reading).await;
    let cancel = |request_id: &str, rebuild_id: &str| {
        let request = CancelRebuildRequest { request_id: request_id.to_owned(), rebuild_id: rebuild_id.to_owned() };
        let client = client.clone();
        async move { client.clone().cancel_rebuild(as_operator().request(request)).await.map(drop) }
    };
    cancel("cancel-1", &rebuild.rebuild_id).await.unwrap();
    cancel("cancel-1", &rebuild.rebuild_id).await.unwrap();
    comes_to(&client, RebuildState::Cancelled).await;
    cancel("cancel-2", &rebuild.rebuild_id).await.unwrap();
    assert_eq!(look(&client).await.state(), RebuildState::Cancelled, "it stays as it is");
    let unknown = cancel("cancel-3", &Uuid::now_v7().to_string()).await;
    assert_eq!(refusal(unknown), is(Code::NotFound, "REBUILD_NOT_FOUND"));
    let pool = shop.database("history").await;
    assert_eq!((documents(&pool, "a").await.len(), documents(&pool, "b").await.len()), (40, 0));
    let new = stories(1);
    told(&shop, &new).await;
    settled(&client, &new).await;
    assert!(documents(&pool, "b").await.is_empty(), "nothing is written beside any more");
    let request = StartRebuildRequest { request_id: "r".to_owned(), reason: "why".to_owned() };
    let customer = client.clone().start_rebuild(as_customer("anna").request(request)).await;
    assert_eq!(refusal(customer), is(Code::PermissionDenied, "ROLE_REQUIRED"));
    shop.close().await;
}

/// What a pruned log does not have any more is taken over, and what it has is read.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_pruned_log_does_not_have_is_taken_over_from_the_old_documents() {
    let (shop, client) = Shop::open().await;
    let old = stories(20);
    told(&shop, &old).await;
    settled(&client, &old).await;
    let floor_time = Utc::now();
    let young = stories(20);
    told(&shop, &young).await;
    settled(&client, &young).await;
    // As retention does it.
    let log = shop.database("order").await;
    sqlx::query("update event_log_floor set kept_from = $1, position = (select max(position) from event_log where occurred_at < $1)")
        .bind(floor_time)
        .execute(&log)
        .await
        .unwrap();
    sqlx::query("delete from event_log where position <= (select position from event_log_floor)")
        .execute(&log)
        .await
        .unwrap();
    let pool = shop.database("history").await;
    let before = documents(&pool, "a").await;
    begin(&client, "rebuild-1").await.unwrap();
    let done = comes_to(&client, RebuildState::Completed).await;
    assert!(done.sources.iter().all(|source| source.kept_from_time.is_some()), "{done:?}");
    assert!(done.taken_over_count >= 20, "{done:?}");
    assert!(documents(&pool, "b").await == before);
    // And back, into the first half.
    begin(&client, "rebuild-2").await.unwrap();
    comes_to(&client, RebuildState::Completed).await;
    let again = || async { (documents(&pool, "a").await == before).then_some(()) };
    eventually("the first half is in use again", BOUND, again).await;
    shop.close().await;
}

/// A service that is away is waited for, and the rebuild says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_is_waited_for() {
    let (shop, client) = Shop::open_with(|settings| settings.rebuild_call_timeout_ms = 500).await;
    let old = stories(5);
    told(&shop, &old).await;
    settled(&client, &old).await;
    shop.world.database_accepts("order", false).await;
    begin(&client, "rebuild-1").await.unwrap();
    let waits = || async { Some(look(&client).await).filter(|rebuild| !rebuild.detail.is_empty()) };
    let waiting = eventually("it says what it waits for", BOUND, waits).await;
    assert!(waiting.detail.contains("order"), "{waiting:?}");
    assert!(get(&client, as_operator(), &old[0].order_id).await.is_ok());
    shop.world.database_accepts("order", true).await;
    let done = comes_to(&client, RebuildState::Completed).await;
    assert!(done.detail.is_empty());
    shop.close().await;
}
