//! The alert rules of `deploy/alerts.yml` on the metrics of a running system, evaluated by Prometheus' own code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{path::Path, process::Stdio};

use openorder_scenarios::Deployment;
use openorder_testing::TestProducer;
use tokio::process::Command;

/// The alerts after a few scrapes, each taken for a minute: lines of name, state and labels.
async fn alerts(system: &Deployment) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let output = Command::new(root.join("dev/tool"))
        .arg("alerts-check")
        .arg(root.join("deploy/alerts.yml"))
        .arg(format!("http://{}/metrics", system.admin))
        .args(["3", "60s"])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("dev/tool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_raises_its_alert_and_a_healthy_system_raises_none() {
    let system = Deployment::start(&[]).await;
    assert_eq!(alerts(&system).await, "", "nothing is wrong yet");

    let poison = TestProducer::new(&system.world);
    let headers = [("ce_type", "order.lifecycle.created"), ("ce_specversion", "1.0")];
    poison.send("order.lifecycle.v1", "no-order", &headers, b"\xff\xff no protobuf").await;
    let told = system
        .eventually("the alert fires", || async {
            let told = alerts(&system).await;
            told.contains("DeadLetters\tfiring").then_some(told)
        })
        .await;
    assert!(told.contains("service=\"inventory\""), "{told}");
    assert!(!told.contains("EventsNotPublished"), "{told}");
    system.close().await;
}
