//! Who may call the operations service, and what it says while services are away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder::{ProcessSettings, Role, System};
use openorder_proto::internal::operations::v1::GetPipelineStateRequest;
use openorder_proto::internal::operations::v1::pipeline_service_client::PipelineServiceClient;
use openorder_proto::operations::v1::operations_service_client::OperationsServiceClient;
use openorder_proto::operations::v1::{
    CancelReplayRequest, DeadLetterFilter, DiscardDeadLettersRequest, EventFilter, GetConsumerLagRequest,
    GetDeadLetterRequest, GetPipelineHealthRequest, ListAuditEntriesRequest, ListDeadLettersRequest,
    ListParkedMessagesRequest, ReplayDeadLettersRequest, ReplayEventsRequest,
};
use openorder_rpc::{CallContext, RpcClientSettings, UpstreamChannel, reason_of};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, free_address};
use openorder_types::{Caller, Role as CallerRole};
use tonic::{Code, Status};

fn call(roles: &[CallerRole]) -> CallContext {
    CallContext { caller: Caller::new("ada", roles), trace: TraceContext::NONE, deadline: None }
}

fn settings(world: &World) -> ProcessSettings {
    let mut settings = ProcessSettings { kafka: world.kafka(), ..Default::default() };
    settings.admin.listen_address = free_address().to_string();
    // The others are nowhere.
    for role in Role::ALL {
        settings.listen_on(*role, &free_address().to_string());
    }
    settings.product.database_url = world.database_url("product");
    settings.product.database = world.database();
    settings.operations.database_url = world.database_url("operations");
    settings.operations.database = world.database();
    settings.operations.service_timeout_ms = 1_000;
    settings
}

async fn started(settings: ProcessSettings) -> System {
    let system = Box::pin(System::start(settings, &[Role::Product, Role::Operations])).await.unwrap();
    let ready = tokio::time::timeout(Duration::from_secs(30), system.readiness().wait_ready()).await;
    assert!(ready.is_ok(), "not ready: {:?}", system.readiness().snapshot());
    system
}

fn channel(address: &str) -> UpstreamChannel {
    let role = RoleTelemetry::disabled("test");
    openorder_rpc::channel(
        &role,
        &format!("http://{address}"),
        &RpcClientSettings { in_memory: false, ..Default::default() },
    )
    .unwrap()
}

fn seen<T>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.err().expect("a refusal");
    (status.code(), reason_of(&status).unwrap_or_default())
}

#[tokio::test]
async fn only_operators_may_call_any_method() {
    let world = World::new();
    let settings = settings(&world);
    let mut operations = OperationsServiceClient::new(channel(&settings.operations.listen_address));
    let mut pipeline = PipelineServiceClient::new(channel(&settings.product.listen_address));
    let system = Box::pin(started(settings)).await;
    let refused = (Code::PermissionDenied, "ROLE_REQUIRED".to_owned());
    for caller in [call(&[CallerRole::Customer]), call(&[CallerRole::Service]), call(&[])] {
        let c = &caller;
        assert_eq!(seen(operations.list_dead_letters(c.request(ListDeadLettersRequest::default())).await), refused);
        assert_eq!(seen(operations.get_dead_letter(c.request(GetDeadLetterRequest::default())).await), refused);
        assert_eq!(seen(operations.replay_dead_letters(c.request(ReplayDeadLettersRequest::default())).await), refused);
        assert_eq!(seen(operations.cancel_replay(c.request(CancelReplayRequest::default())).await), refused);
        let discard = c.request(DiscardDeadLettersRequest::default());
        assert_eq!(seen(operations.discard_dead_letters(discard).await), refused);
        let parked = c.request(ListParkedMessagesRequest::default());
        assert_eq!(seen(operations.list_parked_messages(parked).await), refused);
        assert_eq!(seen(operations.replay_events(c.request(ReplayEventsRequest::default())).await), refused);
        assert_eq!(seen(operations.get_consumer_lag(c.request(GetConsumerLagRequest::default())).await), refused);
        assert_eq!(seen(operations.get_pipeline_health(c.request(GetPipelineHealthRequest {})).await), refused);
        assert_eq!(seen(operations.list_audit_entries(c.request(ListAuditEntriesRequest::default())).await), refused);
        assert_eq!(seen(pipeline.get_pipeline_state(c.request(GetPipelineStateRequest {})).await), refused);
    }
    let operator = call(&[CallerRole::Operator]);
    let entries = operations.list_audit_entries(operator.request(ListAuditEntriesRequest::default())).await.unwrap();
    assert!(entries.into_inner().entries.is_empty(), "a refused call is no act");
    assert!(pipeline.get_pipeline_state(operator.request(GetPipelineStateRequest {})).await.is_ok());
    assert!(system.stop().await.is_clean());
    world.close().await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_and_an_act_without_an_entry_is_no_act() {
    let world = World::new();
    let settings = settings(&world);
    let mut operations = OperationsServiceClient::new(channel(&settings.operations.listen_address));
    let database = settings.operations.database_url.expose().to_owned();
    let system = Box::pin(started(settings)).await;
    let operator = call(&[CallerRole::Operator]);
    let filter = |topic: &str, seconds: Option<i64>| DeadLetterFilter {
        groups: vec!["product".to_owned()],
        topic: topic.to_owned(),
        dead_time_from: seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        ..Default::default()
    };
    let discard = |request_id: &str, filter: DeadLetterFilter| {
        operator.request(DiscardDeadLettersRequest {
            request_id: request_id.to_owned(),
            filter: Some(filter),
            reason: "no more wanted".to_owned(),
            ..Default::default()
        })
    };
    let year_300000 = Some(9_404_000_000_000);
    let refused = seen(operations.discard_dead_letters(discard("nul", filter("nul\0", None))).await);
    assert_eq!(refused, (Code::InvalidArgument, "TEXT_MALFORMED".to_owned()));
    let refused = seen(operations.discard_dead_letters(discard("late", filter("", year_300000))).await);
    assert_eq!(refused, (Code::InvalidArgument, "TIMESTAMP_MALFORMED".to_owned()));
    let events = ReplayEventsRequest {
        request_id: "events".to_owned(),
        source: "order".to_owned(),
        target_group: "product".to_owned(),
        reason: "lost".to_owned(),
        filter: Some(EventFilter {
            event_time_from: Some(prost_types::Timestamp { seconds: -210_486_000_000, nanos: 0 }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = seen(operations.replay_events(operator.request(events)).await);
    assert_eq!(refused, (Code::InvalidArgument, "TIMESTAMP_MALFORMED".to_owned()));

    // Whatever keeps the entry from being written keeps the act from being.
    let pool = sqlx::PgPool::connect(&database).await.unwrap();
    let forbid = "alter table audit_entry add constraint no_entry check (request_id <> 'unkept')";
    sqlx::query(forbid).execute(&pool).await.unwrap();
    let refused = seen(operations.discard_dead_letters(discard("unkept", filter("", None))).await);
    assert_eq!(refused.0, Code::Internal);
    let acts: i64 = sqlx::query_scalar("select count(*) from act").fetch_one(&pool).await.unwrap();
    assert_eq!(acts, 0, "an act that stands in no trail is unfinished for ever");
    pool.close().await;
    assert!(system.stop().await.is_clean());
    world.close().await;
}

#[tokio::test]
async fn services_that_are_away_are_named_and_no_act_leaves_them_out() {
    let world = World::new();
    let settings = settings(&world);
    let mut operations = OperationsServiceClient::new(channel(&settings.operations.listen_address));
    let system = Box::pin(started(settings)).await;
    let operator = call(&[CallerRole::Operator]);
    let listed = operations.list_dead_letters(operator.request(ListDeadLettersRequest::default())).await.unwrap();
    let away: Vec<String> = listed.into_inner().unreachable.into_iter().map(|service| service.role).collect();
    assert_eq!(
        away,
        [
            "order",
            "inventory",
            "payment",
            "notification",
            "promotion",
            "shipping",
            "analytics",
            "history",
            "cart",
            "user"
        ]
    );
    let health = operations.get_pipeline_health(operator.request(GetPipelineHealthRequest {})).await.unwrap();
    let health = health.into_inner();
    let reachable: Vec<&str> =
        health.roles.iter().filter(|role| role.reachable).map(|role| role.role.as_str()).collect();
    assert_eq!((reachable, health.healthy), (vec!["product", "operations"], false));

    let discard = DiscardDeadLettersRequest {
        request_id: "all".to_owned(),
        filter: Some(DeadLetterFilter::default()),
        reason: "away".to_owned(),
        ..Default::default()
    };
    let refused = seen(operations.discard_dead_letters(operator.request(discard.clone())).await);
    assert_eq!(refused.0, Code::Unavailable);
    // Those that answer can be named.
    let filter = Some(DeadLetterFilter { groups: vec!["product".to_owned()], ..Default::default() });
    let refused =
        seen(operations.discard_dead_letters(operator.request(DiscardDeadLettersRequest { filter, ..discard })).await);
    assert_eq!(refused, (Code::FailedPrecondition, "DISCARD_SET_EMPTY".to_owned()));
    let entries = operations.list_audit_entries(operator.request(ListAuditEntriesRequest::default())).await.unwrap();
    let entries = entries.into_inner().entries;
    assert_eq!(entries.len(), 2, "each attempt stands in the trail");
    assert!(
        entries.iter().all(|entry| entry.outcome_json.contains("reason") && entry.end_time.is_some()),
        "{entries:?}"
    );

    let bad = DiscardDeadLettersRequest { dead_letter_ids: vec!["x".to_owned()], ..Default::default() };
    let refused = operations.discard_dead_letters(operator.request(bad)).await.unwrap_err();
    assert_eq!(seen::<()>(Err(refused)).0, Code::InvalidArgument);
    let unknown = GetDeadLetterRequest { dead_letter_id: "warehouse/1".to_owned() };
    let refused = seen(operations.get_dead_letter(operator.request(unknown)).await);
    assert_eq!(refused, (Code::NotFound, "GROUP_UNKNOWN".to_owned()));
    let unknown = GetDeadLetterRequest { dead_letter_id: "product/1".to_owned() };
    let refused = seen(operations.get_dead_letter(operator.request(unknown)).await);
    assert_eq!(refused, (Code::NotFound, "DEAD_LETTER_UNKNOWN".to_owned()));
    assert!(system.stop().await.is_clean());
    world.close().await;
}
