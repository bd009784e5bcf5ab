//! Mail servers that others wrote, and connections that are protected: TLS, STARTTLS and login.

use std::{path::PathBuf, sync::Arc, time::Duration};

use openorder_config::Secret;
use openorder_notification::{NotificationSettings, SmtpSecurity, SmtpSettings};
use openorder_proto::notification::v1::NotificationStatus;
use openorder_testing::{
    World, eventually,
    mail_server::{MailServer, Rules},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use uuid::Uuid;

use crate::{
    maildev::MailDev,
    sending::{mailing, once_requested},
    world::{Client, Order, Orders, SOON, about, settled, start_with},
};

const NAME: &str = "shop";
const PASSWORD: &str = "correct horse";

/// A certificate of 127.0.0.1 and its key, also as files.
struct Identity {
    certified: CertifiedKey<rcgen::KeyPair>,
    folder: PathBuf,
}

impl Identity {
    fn new() -> Self {
        let certified = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let folder = std::env::temp_dir().join(format!("openorder-tls-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("certificate.pem"), certified.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        Self { certified, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.certified.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certified.cert.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Settings that log in over a protected connection.
    fn settings(&self, world: &World, port: u16, security: SmtpSecurity, password: &str) -> NotificationSettings {
        let settings = mailing(world, port);
        NotificationSettings {
            smtp: SmtpSettings {
                security,
                username: NAME.to_owned(),
                password: Secret::new(password),
                ca_certificate_file: self.file("certificate.pem"),
                ..settings.smtp
            },
            ..settings
        }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Starts an instance, tells it of a paid order, and waits for the mail about it.
async fn sent(world: &World, settings: NotificationSettings, order: &Order) -> Client {
    let client = start_with(world, world.role("notification"), settings);
    world.readiness().wait_ready().await;
    Orders::new(world).publish(order, &order.paid()).await;
    let sent = settled(&client, order, 1).await.remove(0);
    assert_eq!((sent.status(), sent.attempts), (NotificationStatus::Sent, 1));
    client
}

/// Starts an instance that the server does not let in, and returns why readiness says it waits.
async fn kept_out(world: &World, settings: NotificationSettings) -> String {
    let client = start_with(world, world.role("notification"), settings);
    let order = Order::of("ada");
    eventually("the service to answer", SOON, || async { Some(about(&client, &order).await) }).await;
    Orders::new(world).publish(&order, &order.paid()).await;
    let why = eventually("readiness to say why", SOON, || async {
        let states = world.readiness().snapshot();
        let smtp = states.into_iter().find(|one| one.name == "smtp" && one.detail.contains(':'))?;
        Some(smtp.detail)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waiting = once_requested(&client, &order).await;
    assert_eq!((waiting.status(), waiting.attempts), (NotificationStatus::Requested, 0));
    why
}

/// What a customer finds in its mailbox, as a mail server that we did not write has understood it.
#[tokio::test]
async fn a_mail_arrives_as_it_was_meant() {
    let world = World::new();
    let maildev = MailDev::of_the_stack().await;
    let order = Order { email: format!("ada.{}@example.com", Uuid::new_v4().simple()), ..Order::of("ada") };
    sent(&world, mailing(&world, maildev.smtp_port), &order).await;
    let [mail] = maildev.mail_to(&order.email).await.try_into().unwrap();
    assert_eq!(mail["from"][0]["address"], "shop@example.com");
    assert_eq!(mail["subject"], format!("Your order is paid ({})", order.id));
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("2 x Keyboard: 20.00 EUR") && text.contains("Total: 20.00 EUR"), "{text}");
    assert_eq!(mail["headers"]["auto-submitted"], "auto-generated");
    world.close().await;
}

#[tokio::test]
async fn mail_goes_over_tls_to_a_server_that_asks_for_a_login() {
    let (world, identity) = (World::new(), Identity::new());
    let (certificate, key) = (identity.file("certificate.pem"), identity.file("key.pem"));
    let login = ["--incoming-user", NAME, "--incoming-pass", PASSWORD];
    let files = ["--incoming-secure", "--incoming-cert", &certificate, "--incoming-key", &key];
    let maildev = MailDev::start(&[&login[..], &files[..]].concat()).await;
    let order = Order::of("ada");
    let settings = identity.settings(&world, maildev.smtp_port, SmtpSecurity::Tls, PASSWORD);
    sent(&world, settings, &order).await;
    assert_eq!(maildev.mail_to(&order.email).await.len(), 1);
    world.close().await;

    let world = World::new();
    let wrong = identity.settings(&world, maildev.smtp_port, SmtpSecurity::Tls, "wrong");
    let why = kept_out(&world, wrong).await;
    assert!(why.contains("535") && !why.contains("wrong"), "{why}");
    assert_eq!(maildev.mail_to(&order.email).await.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn mail_goes_over_starttls_and_the_login_only_then() {
    let (world, identity) = (World::new(), Identity::new());
    let rules = Rules { starttls: Some(identity.acceptor()), login: Some((NAME, PASSWORD)) };
    let server = MailServer::start_by(rules).await;
    let order = Order::of("ada");
    sent(&world, identity.settings(&world, server.port(), SmtpSecurity::Starttls, PASSWORD), &order).await;
    assert_eq!(server.taken().len(), 1);
    world.close().await;
}

/// A server without STARTTLS, or with a certificate of somebody else, gets neither password nor mail.
#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_trusted() {
    let (world, identity) = (World::new(), Identity::new());
    let plain = MailServer::start().await;
    let why = kept_out(&world, identity.settings(&world, plain.port(), SmtpSecurity::Starttls, PASSWORD)).await;
    assert!(why.to_lowercase().contains("starttls"), "{why}");
    assert_eq!(plain.tries(), 0);
    world.close().await;

    let (world, other) = (World::new(), Identity::new());
    let server = MailServer::start_by(Rules { starttls: Some(other.acceptor()), login: None }).await;
    let why = kept_out(&world, identity.settings(&world, server.port(), SmtpSecurity::Starttls, PASSWORD)).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    assert_eq!(server.tries(), 0);
    world.close().await;
}
