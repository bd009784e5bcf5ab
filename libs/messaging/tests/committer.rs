//! Group commit: each caller gets its own answer, a request id is done once, a guilty command stands alone.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use futures::future::join_all;
use openorder_messaging::{CommitterSettings, RequestKey};
use openorder_telemetry::TraceContext;
use openorder_testing::World;
use openorder_types::CallError;
use sqlx::Row;

use crate::common::{Add, Added, add, foreseen, request, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_or_a_fault_of_one_command_never_fails_its_neighbours() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    let calls = (0..200).map(|number| {
        let committer = committer.clone();
        async move {
            match number % 20 {
                7 => add(&committer, "broken", number).await,
                11 => add(&committer, "panic", number).await,
                13 => add(&committer, "good", -number).await,
                _ => add(&committer, &format!("good-{number}"), number).await,
            }
        }
    });
    let answers = join_all(calls).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match number % 20 {
            7 | 11 => assert_eq!(answer, Err(CallError::Internal), "{number}"),
            13 => assert!(matches!(answer, Err(CallError::Rejected(_))), "{number}: {answer:?}"),
            _ => assert_eq!(answer, Ok(Added(i64::try_from(number).unwrap()))),
        }
    }
    assert_eq!(instance.count("ledger").await, 170);
    assert_eq!(instance.count("event_log").await, 170);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_can_never_succeed_costs_its_neighbours_one_more_transaction() {
    const COMMANDS: i64 = 100;
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer_with(&CommitterSettings { batches_at_once: 1, ..Default::default() });
    // While the first command is under way, the others gather to one batch.
    instance.ledger.slow_ms.store(2_000, Ordering::SeqCst);
    let slow = tokio::spawn({
        let committer = committer.clone();
        async move { add(&committer, "slow", 1).await }
    });
    while instance.ledger.batches.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let key = |number: i64| if number == 37 { "nul\0".to_owned() } else { format!("k{number}") };
    let calls = (0..COMMANDS).map(|number| {
        let committer = committer.clone();
        async move { (number, add(&committer, &key(number), number).await) }
    });
    let answers = join_all(calls).await;
    slow.await.unwrap().unwrap();
    for (number, answer) in answers {
        let expected = if number == 37 { Err(CallError::Internal) } else { Ok(Added(number)) };
        assert_eq!(answer, expected, "{number}");
    }
    assert_eq!(instance.count("event_log").await, COMMANDS);
    // PostgreSQL notes with each row which transaction wrote it; events are written at a transaction's end.
    let wrote = "select count(distinct xmin::text) from event_log where aggregate_id <> 'slow'";
    let transactions: i64 = sqlx::query_scalar(wrote).fetch_one(instance.pool()).await.unwrap();
    assert_eq!(transactions, 1, "the neighbours were committed together");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_recalled_without_a_batch() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    let key = || foreseen("anna", "r1", 1, &Added(1));
    let command = Add { key: "k".to_owned(), number: 1 };
    committer.submit(Some(key()), command, TraceContext::default(), None).await.unwrap();
    let batches = instance.ledger.batches.lock().unwrap().len();
    // Results can be read and not be written.
    let mut blocking = instance.pool().begin().await.unwrap();
    sqlx::query("lock table command_result in exclusive mode").execute(&mut *blocking).await.unwrap();
    let recalled = join_all((0..500).map(|_| async { committer.recall(&key()).await })).await;
    assert!(recalled.iter().all(|recalled| *recalled == Ok(Some(Added(1)))));
    assert_eq!(committer.recall(&request("anna", "r2", 1)).await, Ok(None));
    assert_eq!(committer.recall(&request("bert", "r1", 1)).await, Ok(None), "another caller's");
    let Err(CallError::Rejected(reused)) = committer.recall(&request("anna", "r1", 2)).await else {
        panic!("recalled")
    };
    assert_eq!(reused.reason, "REQUEST_ID_REUSED");
    blocking.rollback().await.unwrap();
    assert_eq!(instance.ledger.batches.lock().unwrap().len(), batches);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_done_once_and_answered_again_and_refuses_other_content() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    let submit = |caller: &'static str, id: &'static str, content: u8, number: i64| {
        let committer = committer.clone();
        async move {
            let command = Add { key: "k".to_owned(), number };
            committer.submit(Some(request(caller, id, content)), command, TraceContext::default(), None).await
        }
    };
    // Many at once, in one batch or in several.
    let answers = join_all((0..50).map(|_| submit("anna", "r1", 1, 1))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(Added(1))), "{answers:?}");
    assert_eq!(submit("anna", "r1", 1, 1).await, Ok(Added(1)));
    assert_eq!(instance.numbers("k").await, [1]);
    let Err(CallError::Rejected(reused)) = submit("anna", "r1", 2, 2).await else { panic!("accepted") };
    assert_eq!(reused.reason, "REQUEST_ID_REUSED");
    // Another caller's ids are its own.
    assert_eq!(submit("bert", "r1", 2, 2).await, Ok(Added(2)));
    // A rejected command did nothing: its id may be used again.
    assert!(matches!(submit("anna", "r2", 3, -3).await, Err(CallError::Rejected(_))));
    assert_eq!(submit("anna", "r2", 4, 4).await, Ok(Added(4)));
    // What was done is known without being done, and by each form of the request that it was kept under.
    assert_eq!(committer.recall(&request("anna", "r2", 4)).await, Ok(Some(Added(4))));
    assert_eq!(committer.recall(&request("anna", "r3", 4)).await, Ok(None));
    let Err(CallError::Rejected(reused)) = committer.recall(&request("anna", "r2", 5)).await else { panic!("known") };
    assert_eq!(reused.reason, "REQUEST_ID_REUSED");
    let other_form = RequestKey { fingerprint_as_sent: Some([4; 32]), ..request("anna", "r2", 5) };
    assert_eq!(committer.recall(&other_form).await, Ok(Some(Added(4))));
    world.close().await;
}

/// What is known beforehand is kept when the command begins, and has to go when nothing comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreseen_reply_is_kept_only_of_a_command_that_is_done() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    let submit = |id: &'static str, content: u8, key: &'static str, number: i64| {
        let committer = committer.clone();
        async move {
            let command = Add { key: key.to_owned(), number };
            let request = foreseen("anna", id, content, &Added(number));
            committer.submit(Some(request), command, TraceContext::default(), None).await
        }
    };
    let answers = join_all((0..50).map(|_| submit("r1", 1, "k", 1))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(Added(1))), "{answers:?}");
    assert_eq!(instance.numbers("k").await, [1]);
    let Err(CallError::Rejected(reused)) = submit("r1", 2, "k", 2).await else { panic!("accepted") };
    assert_eq!(reused.reason, "REQUEST_ID_REUSED");
    // Neither what is rejected nor what fails, alone or beside others, is remembered.
    assert!(matches!(submit("r2", 3, "k", -3).await, Err(CallError::Rejected(_))));
    assert_eq!(submit("r3", 3, "broken", 3).await, Err(CallError::Internal));
    let beside = (submit("r4", 1, "k", 4), submit("r5", 1, "broken", 5), submit("r6", 1, "k", -6));
    let (done, broken, rejected) = futures::join!(beside.0, beside.1, beside.2);
    assert_eq!((done, broken), (Ok(Added(4)), Err(CallError::Internal)));
    assert!(matches!(rejected, Err(CallError::Rejected(_))), "{rejected:?}");
    assert_eq!(instance.count("command_result").await, 2, "r1 and r4");
    instance.ledger.mended.store(true, Ordering::SeqCst);
    for (id, number) in [("r2", 12), ("r3", 13), ("r5", 15), ("r6", 16)] {
        assert_eq!(submit(id, 9, "broken", number).await, Ok(Added(number)), "{id}");
    }
    assert_eq!(instance.numbers("k").await, [1, 4]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_batch_is_in_its_transaction_the_next_one_is_executed_and_no_more_than_the_setting_says() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    instance.ledger.slow_ms.store(1_500, Ordering::SeqCst);
    let mut calls = Vec::new();
    for number in 1..=5 {
        let committer = committer.clone();
        calls.push(tokio::spawn(async move { add(&committer, &format!("slow-{number}"), number).await }));
        // Each comes while all before it are under way.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(*instance.ledger.batches.lock().unwrap(), [1, 1], "two are under way");
    for (call, number) in calls.into_iter().zip(1..) {
        assert_eq!(call.await.unwrap(), Ok(Added(number)));
    }
    assert_eq!(*instance.ledger.batches.lock().unwrap(), [1, 1, 3], "what came meanwhile was gathered");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_in_two_batches_at_once_is_done_once() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    instance.ledger.slow_ms.store(500, Ordering::SeqCst);
    for (number, is_foreseen) in [(1, true), (2, false)] {
        let call = || {
            let (committer, id) = (committer.clone(), format!("r{number}"));
            let key = if is_foreseen { foreseen("anna", &id, 1, &Added(number)) } else { request("anna", &id, 1) };
            let command = Add { key: "slow".to_owned(), number };
            tokio::spawn(async move { committer.submit(Some(key), command, TraceContext::default(), None).await })
        };
        let begun = instance.ledger.batches.lock().unwrap().len();
        let first = call();
        while instance.ledger.batches.lock().unwrap().len() == begun {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let second = call();
        assert_eq!(first.await.unwrap(), Ok(Added(number)));
        assert_eq!(second.await.unwrap(), Ok(Added(number)));
    }
    assert_eq!(instance.numbers("slow").await, [1, 2]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_shutdown_what_is_under_way_and_what_waits_is_done_first() {
    let world = World::new();
    let instance = start(&world, world.separate_role("ledger"), "ledger").await;
    let committer = instance.committer();
    instance.ledger.slow_ms.store(300, Ordering::SeqCst);
    let mut calls = Vec::new();
    for number in 1..=6 {
        let committer = committer.clone();
        calls.push(tokio::spawn(async move { add(&committer, &format!("slow-{number}"), number).await }));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    instance.role.shutdown.trigger();
    for (call, number) in calls.into_iter().zip(1..) {
        assert_eq!(call.await.unwrap(), Ok(Added(number)));
    }
    let late = add(&committer, "late", 7).await;
    assert!(matches!(late, Err(CallError::Unavailable { .. })), "{late:?}");
    instance.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_do_a_request_id_once() {
    let world = World::new();
    let one = start(&world, world.role("ledger"), "ledger").await;
    let two = start(&world, world.separate_role("ledger"), "ledger").await;
    let (first, second) = (one.committer(), two.committer());
    let calls = (0..40_i64).flat_map(|number| [(first.clone(), number), (second.clone(), number)]);
    let answers = join_all(calls.map(|(committer, number)| async move {
        let command = Add { key: format!("k{number}"), number };
        let key = request("anna", &format!("r{number}"), 1);
        committer.submit(Some(key), command, TraceContext::default(), None).await
    }))
    .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(one.count("ledger").await, 40);
    two.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_concurrent_writers_a_reader_by_position_loses_nothing_and_sees_versions_in_order() {
    let world = World::new();
    let one = start(&world, world.role("ledger"), "ledger").await;
    let two = start(&world, world.separate_role("ledger"), "ledger").await;
    let committers = [one.committer(), two.committer()];
    let pool = one.pool().clone();
    const KEYS: i64 = 8;
    const EACH: i64 = 60;
    // Reads behind the writers, as the relay does.
    let reader = tokio::spawn(async move {
        let (mut position, mut seen) = (0_i64, Vec::new());
        while seen.len() < usize::try_from(KEYS * EACH).unwrap() {
            let rows = sqlx::query(
                "select position, aggregate_id, aggregate_version from event_log where position > $1 order by position",
            )
            .bind(position)
            .fetch_all(&pool)
            .await
            .unwrap();
            for row in rows {
                position = row.get(0);
                seen.push((row.get::<String, _>(1), row.get::<i64, _>(2)));
            }
        }
        seen
    });
    // Different writers of one key meet on its version: the later one is tried again.
    let writers = (0..KEYS * EACH).map(|number| {
        let committer = committers[usize::try_from(number % 2).unwrap()].clone();
        async move { add(&committer, &format!("k{}", number % KEYS), number).await }
    });
    for answer in join_all(writers).await {
        answer.unwrap();
    }
    let seen = tokio::time::timeout(std::time::Duration::from_secs(30), reader)
        .await
        .expect("a reader that loses nothing ends")
        .unwrap();
    for key in 0..KEYS {
        let versions: Vec<i64> =
            seen.iter().filter(|(id, _)| *id == format!("k{key}")).map(|(_, version)| *version).collect();
        assert_eq!(versions, (1..=EACH).collect::<Vec<_>>(), "key {key}");
    }
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
    two.stop().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_off_is_unavailable_and_the_same_request_id_finds_one_effect() {
    let world = World::new();
    let instance = start(&world, world.role("ledger"), "ledger").await;
    let committer = instance.committer();
    let key = || request("anna", "r1", 1);
    let command = || Add { key: "k".to_owned(), number: 1 };
    committer.submit(Some(key()), command(), TraceContext::default(), None).await.unwrap();
    // Every connection of this database is cut, again and again, while callers go on.
    let name = world.database_url("ledger").expose().rsplit_once('/').unwrap().1.to_owned();
    let cut = tokio::spawn(async move {
        use sqlx::Connection;
        let mut admin = sqlx::PgConnection::connect(&openorder_testing::database_url_of("postgres")).await.unwrap();
        for _ in 0..20 {
            sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
                .bind(&name)
                .execute(&mut admin)
                .await
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    });
    let mut unavailable = 0;
    for number in 0..60_i64 {
        let id = format!("n{number}");
        loop {
            let command = Add { key: "many".to_owned(), number };
            match committer.submit(Some(request("anna", &id, 1)), command, TraceContext::default(), None).await {
                Ok(_) => break,
                Err(CallError::Unavailable { .. }) => unavailable += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    cut.await.unwrap();
    assert!(unavailable > 0, "the cut was never felt");
    assert_eq!(instance.numbers("many").await, (0..60).collect::<Vec<_>>());
    assert_eq!(committer.submit(Some(key()), command(), TraceContext::default(), None).await, Ok(Added(1)));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_planner_is_told_little_of_keys_and_nothing_of_contents_and_what_an_operator_set_stays() {
    let world = World::new();
    let instance = start(&world, world.separate_role("ledger"), "ledger").await;
    sqlx::query("alter table event_log alter column topic set statistics 77").execute(instance.pool()).await.unwrap();
    let again = start(&world, world.separate_role("ledger"), "ledger").await;
    let target = async |column: &str| {
        let query =
            "select attstattarget::int from pg_attribute where attrelid = 'event_log'::regclass and attname = $1";
        sqlx::query_scalar::<_, i32>(query).bind(column).fetch_one(again.pool()).await.unwrap()
    };
    assert_eq!((target("aggregate_id").await, target("payload").await, target("topic").await), (10, 0, 77));
    instance.stop().await;
    again.stop().await;
    world.close().await;
}
