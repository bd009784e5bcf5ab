//! A broker that is reached by TLS and with an account: events go through it, and who is refused is told which settings
//! to look at. `dev/check kafka-tls` starts the broker (`dev/kafka-tls`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{path::PathBuf, time::Duration};

use common::{Instance, add, start_with};
use openorder_messaging::KafkaSettings;
use openorder_runtime::State;
use openorder_testing::{World, eventually, variable};

const BOUND: Duration = Duration::from_secs(120);

/// What `dev/kafka-tls` left in its folder.
struct Broker {
    folder: PathBuf,
    address: String,
    password: String,
}

impl Broker {
    fn of_environment() -> Self {
        let folder = PathBuf::from(variable("OPENORDER_KAFKA_TLS_FOLDER", "no-folder"));
        let password = std::fs::read_to_string(folder.join("password")).expect("run by dev/check kafka-tls");
        Self { folder, address: variable("OPENORDER_KAFKA_TLS_BROKERS", ""), password }
    }

    fn settings(&self, world: &World) -> KafkaSettings {
        KafkaSettings {
            brokers: self.address.clone(),
            security_protocol: "sasl_ssl".to_owned(),
            sasl_mechanism: "scram-sha-512".to_owned(),
            sasl_username: "openorder".to_owned(),
            sasl_password: self.password.as_str().into(),
            tls_ca_file: self.file("ca.pem"),
            client_check_interval_ms: 300,
            ..world.kafka()
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("a path of text").to_owned()
    }
}

async fn instance(world: &World, role: &'static str, kafka: KafkaSettings) -> Instance {
    assert_eq!(kafka.security_problems(), []);
    start_with(world, world.separate_role(role), role, kafka).await
}

/// Waits until every dependency of Kafka's of this role is down with `expected` in its reason; gives the reasons.
async fn refused(world: &World, role: &str, expected: &str) -> Vec<String> {
    eventually("the refusal is reported", BOUND, || async {
        let states = world.readiness().snapshot();
        let states = states.into_iter().filter(|state| state.role == role && state.state == State::Down);
        let reasons: Vec<String> = states.map(|state| state.detail).collect();
        (!reasons.is_empty() && reasons.iter().all(|reason| reason.contains(expected))).then_some(reasons)
    })
    .await
}

/// One test, because the steps share what is known of the broker.
#[tokio::test(flavor = "multi_thread")]
async fn events_go_through_and_refusals_name_the_settings() {
    let broker = Broker::of_environment();
    let world = World::new();

    // Topics are made, an event is published, and consumed.
    let ledger = instance(&world, "ledger", broker.settings(&world)).await;
    let mirror = instance(&world, "mirror", broker.settings(&world)).await;
    ledger.relay();
    mirror.consumer();
    let committer = ledger.committer();
    add(&committer, "k", 7).await.unwrap();
    eventually("it arrives", BOUND, || async { (mirror.numbers("k").await == [7]).then_some(()) }).await;
    ledger.stop().await;
    mirror.stop().await;

    // The password is wrong: before a topic is made, and in clients that make none.
    let wrong = "not-the-password";
    let settings = KafkaSettings { sasl_password: wrong.into(), ..broker.settings(&world) };
    let publisher = instance(&world, "wrong-publisher", settings.clone()).await;
    publisher.relay();
    let consumer = instance(&world, "wrong-consumer", KafkaSettings { create_topics: false, ..settings }).await;
    consumer.consumer();
    for role in ["wrong-publisher", "wrong-consumer"] {
        let reasons = refused(&world, role, "kafka.sasl_password").await;
        assert!(reasons.iter().all(|reason| !reason.contains(wrong)), "the password is nobody's to read: {reasons:?}");
    }
    publisher.stop().await;
    consumer.stop().await;

    // Somebody else signed.
    let settings = KafkaSettings { tls_ca_file: broker.file("other-ca.pem"), ..broker.settings(&world) };
    let stranger = instance(&world, "stranger", settings).await;
    stranger.relay();
    refused(&world, "stranger", "kafka.tls_ca_file").await;
    stranger.stop().await;

    // The certificate names another host.
    let elsewhere = broker.address.replace("127.0.0.1", "localhost");
    let misnamed = instance(&world, "misnamed", KafkaSettings { brokers: elsewhere, ..broker.settings(&world) }).await;
    misnamed.relay();
    refused(&world, "misnamed", "kafka.tls_verify_hostname").await;
    misnamed.stop().await;
    world.close().await;
}
