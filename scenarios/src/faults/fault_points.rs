//! Crashes at the places where they hurt most: between a commit and what has to follow it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use openorder_testing::mail_server::MailServer;
use uuid::Uuid;

use crate::fleet::Fleet;
use crate::load::{Load, Plan};
use crate::{Outcome, Servers, faults::Length};

/// How long a process may take to come to its fault point.
const REACH_BOUND: Duration = Duration::from_secs(30);
/// Passes of a point before it crashes: the process is at work by then.
const PASSES: u32 = 20;

/// How long the last mails may take.
const MAIL_BOUND: Duration = Duration::from_secs(120);
/// Messages that a worker has in hand when it dies (`notification.delivery.concurrency`).
const CONCURRENCY: usize = 16;
/// Mail is tried again soon after a worker died with it.
const DELIVERY: &str = "concurrency = 16\nlease_ms = 10000\nretry_delay_base_ms = 100\nretry_delay_max_ms = 1000";

/// Points and the roles that come to them.
const POINTS: [(&str, &[&str]); 7] = [
    ("committer.before_commit", &["order"]),
    ("committer.after_commit", &["order"]),
    ("relay.after_publish", &["order", "inventory", "payment", "notification"]),
    ("consumer.before_commit", &["order", "inventory", "payment", "notification"]),
    ("consumer.after_commit", &["order", "inventory", "payment", "notification"]),
    ("saga.compensation", &["order"]),
    ("notification.after_send", &["notification"]),
];

/// Each point once in each role; after the crash the role is started again, without faults.
pub async fn fault_points(servers: Servers, length: Length) -> (Servers, Outcome) {
    let mails = MailServer::start().await;
    let transport =
        format!("port = {}\nsecurity = \"none\"\ntimeout_ms = 2000\nconnections_max = {CONCURRENCY}", mails.port());
    let settings = [
        ("notification", "email_transport = \"smtp\""),
        ("notification.smtp", transport.as_str()),
        ("notification.delivery", DELIVERY),
    ];
    let mut fleet = Fleet::start(servers, &settings).await;
    let load = Load::start(&fleet, Plan { cancel_every: Some(4), ..Plan::default() }).await;
    let (mut times, mut recovery, mut unreached) = (0, Duration::ZERO, Vec::new());
    for (point, roles) in POINTS {
        for role in roles.iter().take(length.pick(1, roles.len())) {
            let index = fleet.running(role)[0];
            fleet.kill(index).await;
            fleet.set_variable("OPENORDER_FAULT_INJECTION", "1");
            fleet.set_variable("OPENORDER_FAULT_POINTS", &format!("{point}={PASSES}*off->1*crash"));
            fleet.launch(index).await;
            fleet.unset_variable("OPENORDER_FAULT_INJECTION");
            fleet.unset_variable("OPENORDER_FAULT_POINTS");
            if crashes(&mut fleet, index).await {
                times += 1;
                fleet.launch(index).await;
            } else {
                unreached.push(format!("{point} was not reached in {role}"));
            }
            recovery = recovery.max(load.probe().await);
        }
    }
    let names = load.names().clone();
    let ledger = load.stop().await;
    let mut outcome = Outcome::of(&fleet, &names, ledger).await.broken("crash at a fault point", times, recovery);
    outcome.wrong.extend(unreached);
    judge_mails(&fleet, &mails, &mut outcome).await;
    super::judged(fleet, outcome).await
}

async fn crashes(fleet: &mut Fleet, index: usize) -> bool {
    let started = Instant::now();
    while started.elapsed() < REACH_BOUND {
        if fleet.instances[index].notice_end() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Every message that counts as sent was taken by the mail server, and only crashes made some of them come twice.
async fn judge_mails(fleet: &Fleet, mails: &MailServer, outcome: &mut Outcome) {
    let mut connection = fleet.database("notification").await;
    let mut waiting = i64::MAX;
    let started = Instant::now();
    while waiting > 0 && started.elapsed() < MAIL_BOUND {
        let sql = "select count(*) from notification where status = 1";
        waiting = sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("the notifications");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    outcome.expect(waiting == 0, format!("{waiting} messages to customers still wait"));
    let sql = "select notification_id from notification where status = 2 and channel = 1";
    let sent: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("the notifications");
    let mut taken: HashMap<String, usize> = HashMap::new();
    for mail in mails.taken() {
        // <notification_id.round@host>
        let id = mail.header("Message-ID").trim_start_matches('<').split('.').next().unwrap_or_default().to_owned();
        *taken.entry(id).or_default() += 1;
    }
    let missing = sent.iter().filter(|id| !taken.contains_key(&id.to_string())).count();
    outcome.expect(!sent.is_empty() && missing == 0, format!("{missing} of {} sent messages came nowhere", sent.len()));
    let twice = taken.values().filter(|times| **times > 1).count();
    outcome.expect(twice <= outcome.times * CONCURRENCY, format!("{twice} messages came more than once"));
    outcome.notes.push(format!("{} mails, {twice} of them twice", sent.len()));
}
