//! Tables `order_view_a` and `order_view_b`: documents as they are written, and read one by one.

use std::{collections::BTreeMap, sync::LazyLock};

use openorder_messaging::Table;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::{
    domain::{Fact, Half, View, words_of},
    persistence::body,
};

/// A document with its id and its stored form.
struct Document {
    order_id: Uuid,
    view: View,
    body: Vec<u8>,
}

static A: LazyLock<Table<Document>> = LazyLock::new(|| table("order_view_a"));
static B: LazyLock<Table<Document>> = LazyLock::new(|| table("order_view_b"));

fn table(name: &'static str) -> Table<Document> {
    let created = |document: &Document| document.view.order.created.value().cloned();
    let total = |document: &Document| document.view.order.head.value().and_then(|head| head.total);
    Table::new(name, "order_id")
        .column("order_id", |document: &Document| document.order_id)
        .changing()
        .column("body", |document| document.body.clone())
        .column("customer_id", move |document| created(document).map(|created| created.customer_id.to_string()))
        .column("create_time", move |document| created(document).map(|created| created.create_time))
        .column("order_version", |document| document.view.order_version())
        .column("status", |document| document.view.order.head.value().map_or(0, |head| head.status))
        .text("status_reason", |document| document.view.status_reason())
        .column("currency", move |document| total(document).map(|total| total.currency().as_str().to_owned()))
        .column("total_minor", move |document| total(document).map(|total| total.minor_units()))
        // SKUs and words have no blanks.
        .composed("skus", |document| Ok(document.view.skus().into_iter().collect::<Vec<_>>().join(" ")))
        .written_as("string_to_array({}, ' ')")
        .composed("words", |document| {
            Ok(words_of(document.order_id, &document.view).into_iter().collect::<Vec<_>>().join(" "))
        })
        .written_as("array_to_tsvector(string_to_array({}, ' '))")
}

fn rows(half: Half) -> &'static Table<Document> {
    match half {
        Half::A => &A,
        Half::B => &B,
    }
}

/// Has the documents of a half hear these facts. The documents that change are locked, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn hear(connection: &mut PgConnection, half: Half, facts: &BTreeMap<Uuid, Vec<&Fact>>) -> Result<(), Fault> {
    let ids = facts.keys().copied().collect();
    let change = |id: Uuid, view: &mut View| facts.get(&id).into_iter().flatten().for_each(|fact| view.hear(fact));
    change_each(connection, half, ids, change).await.map(drop)
}

/// Has the documents of a half hear what other documents of the same orders have heard; how many changed.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn merge(connection: &mut PgConnection, half: Half, documents: Vec<(Uuid, View)>) -> Result<i64, Fault> {
    let mut documents: BTreeMap<Uuid, View> = documents.into_iter().collect();
    let ids = documents.keys().copied().collect();
    let change = |id: Uuid, view: &mut View| {
        if let Some(other) = documents.remove(&id) {
            view.merge(other);
        }
    };
    change_each(connection, half, ids, change).await
}

/// Changes documents, made where there is none; `ids` ascend.
async fn change_each(
    connection: &mut PgConnection,
    half: Half,
    ids: Vec<Uuid>,
    mut change: impl FnMut(Uuid, &mut View),
) -> Result<i64, Fault> {
    // First all rows are there, then they are locked: two instances that hear of the same new order wait for each other in
    // either step, in the order of the ids, and neither loses what the other one heard.
    let (make, lock) = match half {
        Half::A => (
            "insert into order_view_a (order_id) select unnest($1::uuid[]) on conflict do nothing",
            "select order_id, body from order_view_a where order_id = any ($1) order by order_id for update",
        ),
        Half::B => (
            "insert into order_view_b (order_id) select unnest($1::uuid[]) on conflict do nothing",
            "select order_id, body from order_view_b where order_id = any ($1) order by order_id for update",
        ),
    };
    sqlx::query(make).bind(&ids).execute(&mut *connection).await?;
    let mut changed = Vec::new();
    for row in sqlx::query(lock).bind(&ids).fetch_all(&mut *connection).await? {
        let (order_id, before): (Uuid, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let mut view = body::decode(before)?;
        change(order_id, &mut view);
        let body = body::encode(&view);
        if body != before {
            changed.push(Document { order_id, view, body });
        }
    }
    let rows_changed: Vec<&Document> = changed.iter().collect();
    rows(half).update(connection, &rows_changed).await?;
    Ok(i64::try_from(changed.len()).unwrap_or(i64::MAX))
}

/// The documents of these orders, of those that are made.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(connection: &mut PgConnection, half: Half, ids: &[Uuid]) -> Result<Vec<(Uuid, View)>, Fault> {
    let sql = match half {
        Half::A => "select order_id, body from order_view_a where order_id = any ($1) and create_time is not null",
        Half::B => "select order_id, body from order_view_b where order_id = any ($1) and create_time is not null",
    };
    read(sqlx::query(sql).bind(ids).fetch_all(connection).await?)
}

/// Documents of orders that were made before this time, and of those that are not made, in the order of their ids: so many
/// behind `after`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn made_before(
    connection: &mut PgConnection,
    half: Half,
    time: Timestamp,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<(Uuid, View)>, Fault> {
    let sql = match half {
        Half::A => {
            "select order_id, body from order_view_a where order_id > coalesce($1, '00000000-0000-0000-0000-000000000000') \
               and (create_time is null or create_time < $2) order by order_id limit $3"
        }
        Half::B => {
            "select order_id, body from order_view_b where order_id > coalesce($1, '00000000-0000-0000-0000-000000000000') \
               and (create_time is null or create_time < $2) order by order_id limit $3"
        }
    };
    read(sqlx::query(sql).bind(after).bind(time).bind(limit).fetch_all(connection).await?)
}

fn read(rows: Vec<sqlx::postgres::PgRow>) -> Result<Vec<(Uuid, View)>, Fault> {
    rows.iter().map(|row| Ok((row.try_get(0)?, body::decode(row.try_get(1)?)?))).collect()
}
