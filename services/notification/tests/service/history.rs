//! Mail that is kept in the history: what customers are told, once, and to whom it is shown.

use openorder_messaging::RoleContext;
use openorder_proto::{
    event_types,
    notification::v1::{
        GetPreferencesRequest, ListNotificationsRequest, Notification, NotificationChannel, NotificationKind,
        NotificationPreferences, NotificationSent, NotificationStatus, ResendNotificationRequest,
        UpdatePreferencesRequest,
    },
    user::v1::{UserErased, UserProfile},
};
use openorder_telemetry::testing::recording;
use openorder_testing::{World, eventually};
use prost_types::FieldMask;
use tonic::Status;
use uuid::Uuid;

use crate::world::{
    Client, Events, Order, Orders, SOON, about, as_customer, as_operator, reason, settings, settled, start, start_with,
};

async fn mute(client: &Client, request_id: &str, user: &str, kinds: &[NotificationKind]) -> NotificationPreferences {
    let muted_kinds = kinds.iter().map(|kind| *kind as i32).collect();
    let preferences = NotificationPreferences { muted_kinds, ..NotificationPreferences::default() };
    change(client, request_id, user, preferences, "muted_kinds").await.unwrap()
}

async fn change(
    client: &Client,
    request_id: &str,
    user: &str,
    preferences: NotificationPreferences,
    path: &str,
) -> Result<NotificationPreferences, Status> {
    let message = UpdatePreferencesRequest {
        request_id: request_id.to_owned(),
        user_id: user.to_owned(),
        preferences: Some(preferences),
        update_mask: Some(FieldMask { paths: vec![path.to_owned()] }),
    };
    let answer = client.clone().update_preferences(as_customer(user, message)).await?;
    Ok(answer.into_inner().preferences.unwrap())
}

async fn resend(client: &Client, request_id: &str, notification_id: &str) -> Result<Notification, Status> {
    let message =
        ResendNotificationRequest { request_id: request_id.to_owned(), notification_id: notification_id.to_owned() };
    let answer = client.clone().resend_notification(as_operator(message)).await?;
    Ok(answer.into_inner().notification.unwrap())
}

async fn list(client: &Client, caller: &str, message: ListNotificationsRequest) -> Vec<Notification> {
    let answer = client.clone().list_notifications(as_customer(caller, message)).await.unwrap();
    answer.into_inner().notifications
}

#[tokio::test]
async fn a_customer_is_told_what_happens_to_an_order_and_others_hear_that_it_was() {
    let world = World::new();
    let client = start(&world).await;
    let events = Events::open(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    let traceparent = orders.publish(&order, &order.paid()).await;
    let told = settled(&client, &order, 1).await.remove(0);
    let event = events.next().await;

    assert_eq!((told.user_id.as_str(), told.order_id.as_str()), ("ada", order.id.to_string().as_str()));
    assert_eq!((told.kind(), told.channel()), (NotificationKind::OrderPaid, NotificationChannel::Email));
    assert_eq!((told.status(), told.attempts, told.version), (NotificationStatus::Sent, 1, 1));
    assert_eq!(told.masked_recipient, "a***@example.com");
    assert_eq!(told.subject, format!("Your order is paid ({})", order.id));
    assert!(told.body.contains("2 x Keyboard: 20.00 EUR\nTotal: 20.00 EUR\n"), "{}", told.body);
    assert_eq!(told.send_time, told.create_time);
    assert_eq!(told.trace_id, traceparent.split('-').nth(1).unwrap());

    assert_eq!((&*event.event_type, event.source()), (event_types::NOTIFICATION_SENT, "notification"));
    assert_eq!(event.key, order.id.to_string().as_bytes());
    assert_eq!(event.trace.trace_id(), told.trace_id);
    let sent: NotificationSent = event.decode().unwrap();
    assert_eq!((&sent.notification_id, &sent.order_id), (&told.notification_id, &told.order_id));
    assert_eq!((sent.version, sent.attempts, sent.kind()), (1, 1, NotificationKind::OrderPaid));
    assert!(!String::from_utf8_lossy(&event.payload).contains('@'), "no address is published");
    world.close().await;
}

#[tokio::test]
async fn every_end_of_an_order_has_its_message() {
    let world = World::new();
    let client = start(&world).await;
    let (orders, [bought, called_off, refused]) = (Orders::new(&world), ["ada", "bob", "eve"].map(Order::of));
    orders.publish(&bought, &bought.paid()).await;
    orders.publish(&bought, &bought.shipped()).await;
    orders.publish(&bought, &bought.delivered()).await;
    orders.publish(&called_off, &called_off.cancelled("CANCELLED_BY_CUSTOMER")).await;
    orders.publish(&refused, &refused.rejected("OUT_OF_STOCK")).await;

    let kinds: Vec<NotificationKind> = settled(&client, &bought, 3).await.iter().map(Notification::kind).collect();
    use NotificationKind::{OrderCancelled, OrderDelivered, OrderPaid, OrderRejected, OrderShipped};
    assert_eq!(kinds, [OrderPaid, OrderShipped, OrderDelivered]);
    let told = settled(&client, &called_off, 1).await.remove(0);
    assert_eq!(told.kind(), OrderCancelled);
    assert!(told.body.contains("Why: you called it off."), "{}", told.body);
    let told = settled(&client, &refused, 1).await.remove(0);
    assert_eq!(told.kind(), OrderRejected);
    assert!(told.body.contains("Why: not everything that you ordered is in stock."), "{}", told.body);
    world.close().await;
}

#[tokio::test]
async fn a_doubled_event_doubles_no_mail() {
    let world = World::new();
    let client = start(&world).await;
    let events = Events::open(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    let (id, trace) = (Uuid::now_v7(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    // The same event twice, and the same fact under other ids: by a producer that lost its memory.
    for event_id in [id, id, Uuid::now_v7(), Uuid::now_v7()] {
        orders.publish_as(event_id, trace, &order, &order.paid()).await;
    }
    settled(&client, &order, 1).await;
    orders.publish_as(Uuid::now_v7(), trace, &order, &order.paid()).await;
    // One key is handled in order: once this one is there, all before it were seen.
    orders.publish(&order, &order.shipped()).await;
    assert_eq!(settled(&client, &order, 2).await.len(), 2);
    let kinds =
        [events.next().await, events.next().await].map(|event| event.decode::<NotificationSent>().unwrap().kind());
    assert_eq!(kinds, [NotificationKind::OrderPaid, NotificationKind::OrderShipped]);
    world.close().await;
}

#[tokio::test]
async fn what_a_user_does_not_want_is_kept_and_not_sent() {
    let world = World::new();
    let client = start(&world).await;
    let events = Events::open(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    mute(&client, "r1", "ada", &[NotificationKind::OrderPaid]).await;
    orders.publish(&order, &order.paid()).await;
    let kept = settled(&client, &order, 1).await.remove(0);
    assert_eq!((kept.status(), kept.failure_reason.as_str()), (NotificationStatus::Suppressed, "KIND_MUTED"));
    assert_eq!((kept.attempts, kept.send_time), (0, None));

    let nowhere = Order::of("bob").without_email();
    orders.publish(&nowhere, &nowhere.paid()).await;
    let lost = settled(&client, &nowhere, 1).await.remove(0);
    assert_eq!((lost.status(), lost.failure_reason.as_str()), (NotificationStatus::Suppressed, "RECIPIENT_MISSING"));
    assert_eq!(reason(&resend(&client, "r2", &lost.notification_id).await.unwrap_err()), "RECIPIENT_MISSING");

    let sent = resend(&client, "r3", &kept.notification_id).await.unwrap();
    assert_eq!((sent.status(), sent.version, sent.failure_reason.as_str()), (NotificationStatus::Sent, 2, ""));
    let event = events.next().await;
    let first: NotificationSent = event.decode().unwrap();
    assert_eq!(first.notification_id, kept.notification_id, "the first event");
    assert_eq!(event.headers.text("ce_sequence"), Some("1"), "and the first in the log");
    world.close().await;
}

#[tokio::test]
async fn a_request_seen_before_is_answered_as_before() {
    let world = World::new();
    let client = start(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    let told = settled(&client, &order, 1).await.remove(0);
    let first = resend(&client, "r1", &told.notification_id).await.unwrap();
    assert_eq!(first.attempts, 2);
    assert_eq!(resend(&client, "r1", &told.notification_id).await.unwrap(), first);
    assert_eq!(about(&client, &order).await, [first], "what is answered is what is kept");
    let other = resend(&client, "r1", &Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    let unknown = resend(&client, "r2", &Uuid::now_v7().to_string()).await.unwrap_err();
    assert_eq!(reason(&unknown), "NOTIFICATION_NOT_FOUND");
    world.close().await;
}

#[tokio::test]
async fn preferences_are_what_a_user_said_last() {
    let world = World::new();
    let client = start(&world).await;
    let get = |user: &'static str, of: &str| {
        let (mut client, message) = (client.clone(), GetPreferencesRequest { user_id: of.to_owned() });
        async move { client.get_preferences(as_customer(user, message)).await }
    };
    let unsaid = get("ada", "ada").await.unwrap().into_inner().preferences.unwrap();
    assert!(unsaid.email_enabled && !unsaid.sms_enabled && !unsaid.push_enabled);
    assert_eq!((unsaid.version, unsaid.update_time, unsaid.muted_kinds.len()), (0, None, 0));

    mute(&client, "r1", "ada", &[NotificationKind::OrderShipped, NotificationKind::OrderPaid]).await;
    let off = NotificationPreferences { email_enabled: false, ..NotificationPreferences::default() };
    let changed = change(&client, "r2", "ada", off.clone(), "email_enabled").await.unwrap();
    assert_eq!((changed.email_enabled, changed.version), (false, 2));
    assert_eq!(changed.muted_kinds, [1, 2], "what the mask does not name stays");
    assert_eq!(get("ada", "ada").await.unwrap().into_inner().preferences.unwrap(), changed);
    assert_eq!(change(&client, "r2", "ada", off.clone(), "email_enabled").await.unwrap(), changed, "asked again");

    assert_eq!(reason(&get("bob", "ada").await.unwrap_err()), "USER_NOT_FOUND");
    let message = UpdatePreferencesRequest {
        request_id: "r3".to_owned(),
        user_id: "ada".to_owned(),
        preferences: Some(off),
        update_mask: Some(FieldMask { paths: vec!["email_enabled".to_owned()] }),
    };
    let refused = client.clone().update_preferences(as_customer("bob", message)).await.unwrap_err();
    assert_eq!(reason(&refused), "USER_NOT_FOUND");
    world.close().await;
}

#[tokio::test]
async fn a_customer_sees_its_own_history_only() {
    let world = World::new();
    let client = start(&world).await;
    let (orders, [of_ada, of_bob]) = (Orders::new(&world), ["ada", "bob"].map(Order::of));
    orders.publish(&of_ada, &of_ada.paid()).await;
    orders.publish(&of_bob, &of_bob.paid()).await;
    let told = settled(&client, &of_ada, 1).await.remove(0);
    settled(&client, &of_bob, 1).await;
    let all = ListNotificationsRequest::default();
    let of_order = ListNotificationsRequest { order_id: of_ada.id.to_string(), ..all.clone() };
    let of_user = ListNotificationsRequest { user_id: "ada".to_owned(), ..all.clone() };
    for message in [&all, &of_order, &of_user] {
        assert_eq!(list(&client, "ada", message.clone()).await, std::slice::from_ref(&told));
        assert!(list(&client, "bob", message.clone()).await.iter().all(|one| one.user_id == "bob"));
    }
    let everything = client.clone().list_notifications(as_operator(all)).await.unwrap().into_inner();
    assert_eq!(everything.notifications.len(), 2);
    let message =
        ResendNotificationRequest { request_id: "r1".to_owned(), notification_id: told.notification_id.clone() };
    let refused = client.clone().resend_notification(as_customer("ada", message)).await.unwrap_err();
    assert_eq!(reason(&refused), "ROLE_REQUIRED");
    world.close().await;
}

#[tokio::test]
async fn a_long_history_is_read_in_pages_the_newest_first() {
    let world = World::new();
    let client = start(&world).await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    orders.publish(&order, &order.paid()).await;
    orders.publish(&order, &order.shipped()).await;
    orders.publish(&order, &order.delivered()).await;
    settled(&client, &order, 3).await;
    let mut message =
        ListNotificationsRequest { user_id: "ada".to_owned(), page_size: 2, ..ListNotificationsRequest::default() };
    let first = client.clone().list_notifications(as_operator(message.clone())).await.unwrap().into_inner();
    message.page_token = first.next_page_token;
    let second = client.clone().list_notifications(as_operator(message.clone())).await.unwrap().into_inner();
    let kinds = [first.notifications, second.notifications].concat();
    let kinds: Vec<i32> = kinds.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [3, 2, 1]);
    assert_eq!(second.next_page_token, "");
    let stolen = client.clone().list_notifications(as_customer("ada", message)).await.unwrap_err();
    assert_eq!(reason(&stolen), "PAGE_TOKEN_INVALID", "a page token fits its caller alone");
    world.close().await;
}

/// The trace of an order ends with its mail: the delivery stands under what was done with the event.
#[tokio::test]
async fn a_delivery_joins_the_trace_of_its_order() {
    let world = World::new();
    let (telemetry, spans) = recording("notification", 1.0);
    let role = RoleContext { telemetry, ..world.role("notification") };
    let client = start_with(&world, role, settings(&world));
    world.readiness().wait_ready().await;
    let (orders, order) = (Orders::new(&world), Order::of("ada"));
    let traceparent = orders.publish(&order, &order.paid()).await;
    settled(&client, &order, 1).await;
    let trace_id = traceparent.split('-').nth(1).unwrap().to_owned();
    let of_order = eventually("the spans of the event", SOON, || async {
        let mut ended = spans.all();
        ended.retain(|span| span.span_context.trace_id().to_string() == trace_id);
        ended.iter().any(|span| span.name.starts_with("process ")).then_some(ended)
    })
    .await;
    let named = |name: &str| of_order.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}"));
    let (process, deliver) = (named("process order.lifecycle.v1"), named("deliver email"));
    assert_eq!(deliver.parent_span_id, process.span_context.span_id());
    let conversation = deliver.attributes.iter().find(|one| one.key.as_str() == "messaging.message.conversation_id");
    assert_eq!(conversation.unwrap().value.as_str(), order.id.to_string());
    let shown = format!("{of_order:?}");
    assert!(!shown.contains("secret@") && !shown.contains("Keyboard"), "neither address nor text in traces");
    world.close().await;
}

#[tokio::test]
async fn where_an_erased_user_was_reached_is_forgotten() {
    let world = World::new();
    let client = start(&world).await;
    let (orders, order, other) = (Orders::new(&world), Order::of("ada"), Order::of("bob"));
    for order in [&order, &other] {
        orders.publish(order, &order.paid()).await;
        assert_eq!(settled(&client, order, 1).await.len(), 1);
    }
    let preferences =
        NotificationPreferences { phone_number: "+4930901820".to_owned(), ..NotificationPreferences::default() };
    change(&client, "phone", "ada", preferences, "phone_number").await.unwrap();

    let user = Some(UserProfile { user_id: "ada".to_owned(), ..UserProfile::default() });
    orders.publish(&order, &UserErased { user }).await;
    let forgotten = || async {
        let told = about(&client, &order).await.remove(0);
        told.masked_recipient.is_empty().then_some(told)
    };
    let told = eventually("where the mail went is forgotten", SOON, forgotten).await;
    let asked = GetPreferencesRequest { user_id: "ada".to_owned() };
    let kept = client.clone().get_preferences(as_operator(asked)).await.unwrap().into_inner().preferences.unwrap();
    assert_eq!((kept.phone_number.as_str(), kept.version), ("", 2));
    let again = resend(&client, "again", &told.notification_id).await.unwrap_err();
    assert_eq!(reason(&again), "RECIPIENT_MISSING");
    assert_eq!(about(&client, &other).await.remove(0).masked_recipient, "b***@example.com", "nobody else is");
    world.close().await;
}
