//! What nobody is to find: passwords, tokens and keys, in no table, no log of events, no stored answer.

use openorder_proto::topics;
use openorder_proto::user::v1::{CreateApiKeyRequest, SignOutRequest, sign_out_request::Target};
use openorder_testing::Message as _;
use openorder_testing::{Tail, eventually};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

use crate::world::{BOUND, Bench, PASSWORD, as_customer, email, from, request_id};

/// Everything in the database as text; bytes are hexadecimal digits in it.
async fn everything(bench: &Bench) -> String {
    let mut database = PgConnection::connect(bench.world.database_url("user").expose()).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_schema || '.' || table_name from information_schema.tables \
         where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    assert!(tables.len() > 8, "{tables:?}");
    let mut all = String::new();
    for table in tables {
        let text = format!("select coalesce(string_agg(one::text, ' '), '') from {table} as one");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&mut database).await.unwrap();
        all.push_str(&rows);
    }
    all
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_and_no_event_has_a_password_a_token_or_a_key() {
    let bench = Bench::start().await;
    let ada = bench.register("ada").await;
    let session = bench.sign_in("ada").await;
    let next = bench.refresh(&session.refresh_token).await.unwrap();
    let message = CreateApiKeyRequest { request_id: request_id(), user_id: ada.user_id.clone(), ..Default::default() };
    let created = bench.users().create_api_key(as_customer(&ada.user_id).request(message)).await.unwrap().into_inner();
    let target = Some(Target::RefreshToken(next.refresh_token.clone()));
    bench.users().sign_out(from("", SignOutRequest { target })).await.unwrap();

    let all = everything(&bench).await;
    assert!(all.contains(&email("ada")) && all.contains("$argon2id$"), "the tables are read");
    let part = |token: &str, mark| token.rsplit_once(mark).unwrap().1.to_owned();
    let secrets = [
        PASSWORD.to_owned(),
        part(&session.refresh_token, '.'),
        part(&next.refresh_token, '.'),
        part(&session.access_token, '.'),
        part(&next.access_token, '.'),
        part(&created.key, '_'),
    ];
    for secret in &secrets {
        assert!(!all.contains(secret.as_str()), "{secret} stands in a table");
        assert!(!all.contains(&hexadecimal(secret.as_bytes())), "{secret} stands in a table as bytes");
    }
    // Nor a hash that can be tried quickly. That of a key's 256 random bits is none.
    assert!(!all.contains(&hexadecimal(&Sha256::digest(PASSWORD))));

    let mut events = 0;
    for (topic, count) in [(topics::USER_PROFILE, 1), (topics::USER_ACTIVITY, 3)] {
        let tail = Tail::new(&bench.world, topic);
        for _ in 0..count {
            let event = eventually("an event", BOUND, || tail.next(std::time::Duration::from_secs(1))).await;
            let payload = String::from_utf8_lossy(event.payload().unwrap()).into_owned();
            assert!(payload.contains(&ada.user_id), "{payload}");
            for hidden in secrets.iter().map(String::as_str).chain(["ada@", "the tester", "192.0.2"]) {
                assert!(!payload.contains(hidden), "{hidden} stands in an event");
            }
            events += 1;
        }
    }
    assert_eq!(events, 4);
    bench.close().await;
}
