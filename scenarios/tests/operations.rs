//! Operators: what they see of failed messages, and what they do about them, through the gateway and by the commands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_proto::operations::v1::{
    DeadLetterFilter, GetConsumerLagRequest, GetPipelineHealthRequest, ListDeadLettersRequest, PartitionLag,
    ReplayDeadLettersRequest, ReplayDeadLettersResponse, ReplayPhase, RoleHealth,
    operations_service_client::OperationsServiceClient,
};
use openorder_proto::{event_types, order::v1::OrderStatus, topics};
use openorder_scenarios::{Deployment, Shop, eur, id};
use openorder_testing::TestProducer;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tonic::{Code, Streaming, transport::Channel};
use tonic_types::StatusExt;

/// Failures are given up after two attempts, at once.
const IMPATIENT: &str = "attempts_max = 2\nretry_delay_base_ms = 10\nretry_poll_interval_ms = 20";

/// A system in which messages die soon.
async fn start() -> Deployment {
    let groups = ["order.consumer", "inventory.consumer", "payment.consumer", "notification.consumer"];
    let mut settings: Vec<(&str, &str)> = groups.iter().map(|group| (*group, IMPATIENT)).collect();
    settings.push(("operations", "progress_interval_ms = 50\nunfinished_after_ms = 1000"));
    Deployment::start(&settings).await
}

async fn database(system: &Deployment, service: &str) -> PgConnection {
    PgConnection::connect(system.world.database_url(service).expose()).await.unwrap()
}

/// Trouble in a service's database: nothing can be written to the table, as if somebody held a lock on it.
async fn break_table(system: &Deployment, service: &str, table: &str) {
    let sql = format!(
        "create function broken() returns trigger language plpgsql as $$ begin raise exception 'no such luck' using errcode = '40001'; end $$; \
         create trigger broken before insert on {table} for each row execute function broken()"
    );
    database(system, service).await.execute(AssertSqlSafe(sql)).await.unwrap();
}

async fn mend_table(system: &Deployment, service: &str, table: &str) {
    let sql = format!("drop trigger broken on {table}; drop function broken()");
    database(system, service).await.execute(AssertSqlSafe(sql)).await.unwrap();
}

async fn number(system: &Deployment, service: &str, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut database(system, service).await).await.unwrap()
}

fn operator(system: &Deployment) -> OperationsServiceClient<Channel> {
    OperationsServiceClient::new(system.channel())
}

/// The ids of all dead letters of a group, once there are so many.
async fn dead_letters(system: &Deployment, group: &str, count: usize) -> Vec<String> {
    let what = format!("{count} dead letters of {group}");
    system
        .eventually(&what, || async {
            let filter = DeadLetterFilter { groups: vec![group.to_owned()], ..Default::default() };
            let request = ListDeadLettersRequest { filter: Some(filter), ..Default::default() };
            let answer = operator(system).list_dead_letters(request).await.ok()?.into_inner();
            let ids: Vec<String> = answer.dead_letters.into_iter().map(|letter| letter.dead_letter_id).collect();
            (ids.len() == count).then_some(ids)
        })
        .await
}

/// The states of a request id's entries in the trail, the newest first.
async fn states(system: &Deployment, request_id: &str) -> Vec<serde_json::Value> {
    let trail = system.command(&["audit", "--request-id", request_id, "--output", "json"]).await.json();
    trail["entries"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect()
}

async fn last(mut answers: Streaming<ReplayDeadLettersResponse>) -> ReplayDeadLettersResponse {
    let mut last = None;
    while let Some(answer) = answers.message().await.unwrap() {
        last = Some(answer);
    }
    last.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_is_listed_shown_and_discarded_with_a_reason_and_the_trail_tells_it() {
    let system = start().await;
    let (event_id, key) = (uuid::Uuid::now_v7().to_string(), id("order"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("ce_id", event_id.as_str()), ("ce_type", event_types::ORDER_CREATED), ("traceparent", trace)];
    TestProducer::new(&system.world).send(topics::ORDER_LIFECYCLE, &key, &headers, b"no protobuf").await;
    let letter = dead_letters(&system, "inventory", 1).await.remove(0);

    let listed = system.command(&["dlq", "list", "--group", "inventory"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(
        listed.out.contains(&letter) && listed.out.contains(&key) && listed.out.contains("MALFORMED"),
        "{listed:?}"
    );
    let causes =
        system.command(&["dlq", "list", "--by-cause", "--error", "MALFORMED", "--output", "json"]).await.json();
    let cause = causes["causes"].as_array().unwrap().iter().find(|cause| cause["group"] == "inventory").unwrap();
    assert_eq!((&cause["count"], &cause["sample_dead_letter_id"]), (&1.into(), &letter.as_str().into()));
    let none = system.command(&["dlq", "list", "--error", "NOTHING_SUCH", "--output", "json"]).await.json();
    assert_eq!(none["dead_letters"], serde_json::json!([]));

    let shown = system.command(&["dlq", "show", &letter, "--output", "json"]).await.json();
    assert_eq!(shown["payload_message"], "openorder.order.v1.OrderCreated");
    assert!(!shown["payload_error"].as_str().unwrap().is_empty() && shown["payload_json"].is_null(), "{shown}");
    assert_eq!(shown["attempts"][0]["reason"], "MALFORMED");
    assert_eq!(shown["dead_letter"]["event_id"], event_id.as_str());
    let link = shown["dead_letter"]["trace_url"].as_str().unwrap();
    assert!(link.ends_with("/trace/0af7651916cd43dd8448eb211c80319c"), "{link}");
    assert!(shown["headers"].as_array().unwrap().iter().any(|header| header["name"] == "ce_type"));

    // Nobody is asked where nobody sits, and a reason is a must.
    let refused = system.command(&["dlq", "discard", &letter, "--reason", "a test"]).await;
    assert!(refused.code == 1 && refused.err.contains("--yes"), "{refused:?}");
    assert_eq!(system.command(&["dlq", "discard", &letter, "--yes"]).await.code, 2);
    assert_eq!(system.command(&["dlq", "discard", "--reason", "which?", "--yes"]).await.code, 1);
    let counted = system.command(&["dlq", "discard", &letter, "--dry-run", "--output", "json"]).await.json();
    assert_eq!(counted["groups"][0]["discarded"], 1);
    assert_eq!(dead_letters(&system, "inventory", 1).await, std::slice::from_ref(&letter), "a dry run changes nothing");

    let discard = ["dlq", "discard", &letter, "--reason", "made by a test", "--yes", "--request-id", "discard-1"];
    let discarded = system.command(&discard).await;
    assert_eq!(discarded.code, 0, "{discarded:?}");
    dead_letters(&system, "inventory", 0).await;
    let again = system.command(&discard).await;
    assert_eq!((again.code, again.out), (0, discarded.out), "the same request is answered the same");
    let other =
        system.command(&["dlq", "discard", &letter, "--reason", "b", "--yes", "--request-id", "discard-2"]).await;
    assert!(other.code == 1 && other.err.contains("NOT_A_DEAD_LETTER"), "{other:?}");
    let reused =
        system.command(&["dlq", "discard", &letter, "--reason", "c", "--yes", "--request-id", "discard-1"]).await;
    assert!(reused.code == 1 && reused.err.contains("REQUEST_ID_REUSED"), "{reused:?}");

    let trail = system.command(&["audit", "--method", "DiscardDeadLetters", "--output", "json"]).await.json();
    let entries = trail["entries"].as_array().unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry["request_id"].as_str(), entry["state"].as_str())).collect();
    assert_eq!(told, [(Some("discard-2"), Some("refused")), (Some("discard-1"), Some("succeeded"))], "newest first");
    let entry = &entries[1];
    assert_eq!((&entry["caller"], &entry["reason"]), (&"anonymous-operator".into(), &"made by a test".into()));
    assert_eq!(entry["arguments"]["set"]["dead_letter_ids"][0], letter.as_str());
    assert_eq!(entry["outcome"][0]["discarded"], 1);
    let change = database(&system, "operations").await.execute("delete from audit_entry").await;
    assert!(change.unwrap_err().to_string().contains("append-only"));
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_died_is_replayed_once_the_cause_is_mended_and_never_by_two_replays() {
    let system = start().await;
    let shop = system.shop();
    let (sku, customer) = (id("lamp"), id("rosa"));
    shop.product(&sku, eur(5, 0), 100).await;
    shop.charge(&customer, eur(1_000, 0)).await;
    break_table(&system, "payment", "payment").await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(shop.create(Shop::request(&customer, &sku, 1)).await.unwrap().order_id);
    }
    let ids = dead_letters(&system, "payment", 3).await;
    let shown = system.command(&["dlq", "show", &ids[0], "--output", "json"]).await.json();
    assert_eq!(shown["payload_json"]["orderId"], shown["dead_letter"]["key"], "{shown}");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2);
    let unhealthy = system.command(&["health"]).await;
    assert!(unhealthy.code == 1 && unhealthy.out.contains("DEAD_LETTERS"), "{unhealthy:?}");

    // While the cause is there, they die again, and the command says so.
    let vain = system.command(&["dlq", "replay", &ids[0], "--reason", "in vain", "--yes", "--output", "json"]).await;
    assert_eq!((vain.code, &vain.json()["groups"][0]["failed"]), (1, &1.into()), "{vain:?}");
    dead_letters(&system, "payment", 3).await;

    mend_table(&system, "payment", "payment").await;
    // One a second: there is time to ask for the same set again.
    let request = ReplayDeadLettersRequest {
        request_id: "mended".to_owned(),
        dead_letter_ids: ids.clone(),
        reason: "mended".to_owned(),
        rate_per_second: 1,
        ..Default::default()
    };
    let mut first = operator(&system).replay_dead_letters(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.message().await.unwrap().unwrap().phase(), ReplayPhase::Frozen);
    let second = ReplayDeadLettersRequest { request_id: "another".to_owned(), ..request.clone() };
    let refused = operator(&system).replay_dead_letters(second).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert_eq!(refused.get_details_error_info().unwrap().reason, "ALREADY_IN_REPLAY");
    let same = operator(&system).replay_dead_letters(request.clone()).await.unwrap().into_inner();
    let (first, same) = tokio::join!(last(first), last(same));
    for ended in [&first, &same] {
        assert_eq!(ended.phase(), ReplayPhase::Done);
        let group = &ended.groups[0];
        assert_eq!((group.group.as_str(), group.total, group.succeeded, group.failed), ("payment", 3, 3, 0));
    }
    for order_id in &orders {
        shop.until(order_id, OrderStatus::Preparing).await;
    }
    assert_eq!(shop.balance(&customer).await, eur(985, 0), "three times five, once each");
    let gone = ReplayDeadLettersRequest { request_id: "late".to_owned(), ..request.clone() };
    let refused = operator(&system).replay_dead_letters(gone).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "NOT_A_DEAD_LETTER");
    let remembered = last(operator(&system).replay_dead_letters(request).await.unwrap().into_inner()).await;
    assert_eq!((remembered.phase(), remembered.groups[0].succeeded), (ReplayPhase::Done, 3));

    let trail = system.command(&["audit", "--request-id", "mended", "--output", "json"]).await.json();
    let entries = trail["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "both callers' entries, none for the answer from memory: {trail}");
    assert!(entries.iter().all(|entry| entry["state"] == "succeeded" && entry["reason"] == "mended"), "{trail}");
    system.eventually("healthy", || async { (system.command(&["health"]).await.code == 0).then_some(()) }).await;
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_replayed_to_one_group_only_and_only_what_it_missed_has_an_effect() {
    let system = start().await;
    let shop = system.shop();
    let (sku, customer) = (id("rug"), id("ugo"));
    shop.product(&sku, eur(5, 0), 100).await;
    shop.charge(&customer, eur(100, 0)).await;
    let order_id = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap().order_id;
    shop.until(&order_id, OrderStatus::Preparing).await;
    let notified = "select count(*) from notification";
    let inbox = "select coalesce(sum(bit_count(taken)), 0)::bigint from inbox_position";
    system.eventually("told", || async { (number(&system, "notification", notified).await > 0).then_some(()) }).await;
    let before = number(&system, "notification", notified).await;
    // The product may be heard of after the order: its stock is looked up then.
    let both = || async { (number(&system, "inventory", inbox).await == 2).then_some(()) };
    system.eventually("the product and the order", both).await;
    let others = [number(&system, "inventory", inbox).await, number(&system, "payment", inbox).await];

    // The group loses what it knew, as by an old backup.
    database(&system, "notification").await.execute("truncate inbox_position, notification cascade").await.unwrap();
    let replay = ["replay", "--from", "order", "--to", "notification", "--aggregate", order_id.as_str()];
    let counted = system.command(&[&replay[..], &["--dry-run", "--output", "json"]].concat()).await;
    let total = counted.json()["total"].as_i64().unwrap();
    assert!(total >= 4, "created, confirmed, paid, preparing: {counted:?}");
    assert_eq!(number(&system, "notification", notified).await, 0, "a dry run changes nothing");
    let act = ["--reason", "restored from a backup", "--yes", "--output", "json"];
    let replayed = system.command(&[&replay[..], &act].concat()).await;
    assert_eq!((replayed.code, &replayed.json()["delivered"]), (0, &total.into()), "{replayed:?}");
    system
        .eventually("told again", || async {
            (number(&system, "notification", notified).await == before).then_some(())
        })
        .await;
    let again = system.command(&[&replay[..], &act].concat()).await;
    assert_eq!((&again.json()["delivered"], &again.json()["known"]), (&0.into(), &total.into()), "{again:?}");
    assert_eq!(number(&system, "notification", notified).await, before);
    let untouched = [number(&system, "inventory", inbox).await, number(&system, "payment", inbox).await];
    assert_eq!(untouched, others, "no other group saw anything");

    let foreign = ["replay", "--from", "order", "--to", "notification", "--topic", topics::PRODUCT_CATALOG];
    let refused = system.command(&[&foreign[..], &act].concat()).await;
    assert!(refused.code == 1 && refused.err.contains("NOT_SUBSCRIBED"), "{refused:?}");
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_and_health_tell_the_truth_while_a_consumer_is_paused_and_after() {
    let system = start().await;
    let shop = system.shop();
    let (sku, customer) = (id("desk"), id("max"));
    shop.product(&sku, eur(1, 0), 100).await;
    shop.charge(&customer, eur(100, 0)).await;
    let first = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    shop.until(&first.order_id, OrderStatus::Preparing).await;
    let lag = || async {
        let request = GetConsumerLagRequest { groups: vec!["inventory".to_owned()] };
        operator(&system).get_consumer_lag(request).await.unwrap().into_inner().groups.remove(0)
    };
    system.eventually("all is read", || async { (lag().await.lag == 0).then_some(()) }).await;
    // What a foreign publisher took back, and the marker that says so, take offsets that no consumer ever reaches.
    openorder_testing::abort_transaction(&system.world.kafka(), topics::ORDER_LIFECYCLE).await;
    let told = system
        .eventually("offsets that are never reached", || async {
            let told = lag().await;
            let reaches = |partition: &PartitionLag| partition.end_offset <= partition.committed_offset.max(0);
            (told.lag == 0 && !told.partitions.iter().all(reaches)).then_some(told)
        })
        .await;
    assert_eq!((told.lag, told.state.as_str(), told.members), (0, "Stable", 1));
    assert!(told.partitions.iter().all(|partition| partition.exact && !partition.member.is_empty()), "{told:?}");

    system.world.database_accepts("inventory", false).await;
    for _ in 0..4 {
        shop.create(Shop::request(&customer, &sku, 1)).await.unwrap();
    }
    // One event an order waits; what was taken back does not count.
    let told = system
        .eventually("four wait", || async {
            let told = lag().await;
            (told.lag == 4).then_some(told)
        })
        .await;
    assert!(told.oldest_time.is_some() && told.partitions.iter().all(|partition| partition.exact), "{told:?}");
    let inventory = || async {
        let health = operator(&system).get_pipeline_health(GetPipelineHealthRequest {}).await.unwrap().into_inner();
        (health.roles.into_iter().find(|role| role.role == "inventory").unwrap(), health.healthy)
    };
    let reasons = |role: &RoleHealth| role.concerns.iter().map(|concern| concern.reason.clone()).collect::<Vec<_>>();
    let (role, healthy) = inventory().await;
    assert!(!healthy && role.reachable && reasons(&role).contains(&"DEGRADED".to_owned()), "{role:?}");
    assert_eq!((role.lag, role.state.unwrap().dead_letters), (4, -1), "its database cannot be asked");

    system.world.database_accepts("inventory", true).await;
    system
        .eventually("all is well", || async {
            let (role, healthy) = inventory().await;
            (healthy && role.lag == 0).then_some(())
        })
        .await;
    let shown = system.command(&["lag", "--partitions"]).await;
    assert!(shown.code == 0 && shown.out.contains(topics::ORDER_LIFECYCLE), "{shown:?}");
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_whose_process_dies_shows_as_unfinished_and_goes_on_under_the_same_request_id() {
    let mut system = start().await;
    let shop = system.shop();
    let (sku, customer) = (id("vase"), id("eva"));
    shop.product(&sku, eur(1, 0), 100).await;
    shop.charge(&customer, eur(100, 0)).await;
    // At one event a second the replay takes longer than it is looked for, also where a command takes seconds.
    for _ in 0..4 {
        let order_id = shop.create(Shop::request(&customer, &sku, 1)).await.unwrap().order_id;
        shop.until(&order_id, OrderStatus::Preparing).await;
    }
    let replay = [
        "replay",
        "--from",
        "order",
        "--to",
        "payment",
        "--rate",
        "1",
        "--reason",
        "slowly",
        "--yes",
        "--request-id",
        "slow-1",
        "--output",
        "json",
    ];
    let running = system.begin(&replay);
    system.eventually("begun", || async { (states(&system, "slow-1").await == ["started"]).then_some(()) }).await;
    // The system first: a caller that leaves would end the act.
    system.kill().await;
    drop(running);
    system.launch();
    system.ready().await;
    system
        .eventually("unfinished", || async { (states(&system, "slow-1").await == ["unfinished"]).then_some(()) })
        .await;
    assert_eq!(system.command(&["health"]).await.code, 1, "an unfinished act is something to look at");
    let ended = system.command(&replay).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    assert_eq!(json["read"], json["total"], "{ended:?}");
    assert_eq!(states(&system, "slow-1").await, ["succeeded", "unfinished"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    system
        .eventually("nothing is left", || async { (system.command(&["health"]).await.code == 0).then_some(()) })
        .await;
    system.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_replay_leaves_the_rest_dead_and_says_so_to_who_watches_it() {
    let system = start().await;
    let producer = TestProducer::new(&system.world);
    // At one a second the replay takes longer than it is cancelled in, also where a command takes seconds.
    const LETTERS: usize = 30;
    for _ in 0..LETTERS {
        let event_id = uuid::Uuid::now_v7().to_string();
        let headers = [("ce_id", event_id.as_str()), ("ce_type", event_types::ORDER_CREATED)];
        producer.send(topics::ORDER_LIFECYCLE, &id("order"), &headers, b"no protobuf").await;
    }
    dead_letters(&system, "inventory", LETTERS).await;
    let replay = ["dlq", "replay", "--group", "inventory", "--rate", "1", "--reason", "hasty", "--yes"];
    let watching = system.begin(&[&replay[..], &["--request-id", "hasty", "--output", "json"]].concat());
    system.eventually("begun", || async { (states(&system, "hasty").await == ["started"]).then_some(()) }).await;
    let cancelled = system.command(&["dlq", "cancel", "hasty", "--reason", "the mend was none"]).await;
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    let watched = watching.wait_with_output().await.unwrap();
    assert_eq!(watched.status.code(), Some(1), "not all were handled");
    let told: serde_json::Value = serde_json::from_slice(&watched.stdout).unwrap();
    let (failed, left_out) =
        (told["groups"][0]["failed"].as_i64().unwrap(), told["groups"][0]["left_out"].as_i64().unwrap());
    assert!(left_out > 0 && failed + left_out == LETTERS as i64, "{told}");
    dead_letters(&system, "inventory", LETTERS).await;
    let unknown = system.command(&["dlq", "cancel", "nothing-such", "--reason", "x"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("REPLAY_UNKNOWN"), "{unknown:?}");
    system.close().await;
}
