//! SMTP (RFC 5321), and what its errors mean.

use std::time::Duration;

use anyhow::Context;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error, PoolConfig,
        authentication::Credentials,
        client::{Tls, TlsParameters},
        response::Code,
    },
};

use crate::{
    config::{SmtpSecurity, SmtpSettings},
    domain::DeliveryOutcome,
    persistence::Due,
};

/// Name of the dependency.
pub(crate) const SMTP: &str = "smtp";

/// Longest text of a server that is kept, in characters.
const DETAIL_LENGTH_MAX: usize = 300;

/// The mail server is away, or does not let us in. Nothing is wrong with the message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct MailOutage(String);

/// Hands mail to one server.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    /// Bound of handing over one message.
    timeout: Duration,
}

impl Mailer {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub(crate) fn new(settings: &SmtpSettings) -> anyhow::Result<Self> {
        let from: Mailbox = settings
            .from
            .parse()
            .context("notification.smtp.from must be a mail address, such as Shop <shop@example.com>")?;
        let tls = || TlsParameters::new(settings.host.clone()).context("notification.smtp.host cannot be used for TLS");
        let tls = match settings.security {
            SmtpSecurity::None => Tls::None,
            SmtpSecurity::Starttls => Tls::Required(tls()?),
            SmtpSecurity::Tls => Tls::Wrapper(tls()?),
        };
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(timeout))
            .pool_config(PoolConfig::new().max_size(settings.connections_max));
        if !settings.username.is_empty() {
            let password = settings.password.expose().to_owned();
            builder = builder.credentials(Credentials::new(settings.username.clone(), password));
        }
        Ok(Self { transport: builder.build(), from, timeout })
    }

    /// Bound of [`Self::send`].
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout * 2
    }

    /// Whether the server lets us in.
    pub(crate) async fn probe(&self) -> Result<(), MailOutage> {
        match tokio::time::timeout(self.timeout, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(MailOutage("the server closed the connection".to_owned())),
            Ok(Err(error)) => Err(MailOutage(without_addresses(&error.to_string()))),
            Err(_) => Err(MailOutage("the server does not answer".to_owned())),
        }
    }

    /// Hands one message over. A server that is away is told from a message that it does not take: a broken connection
    /// counts against the message only if the server still lets us in.
    pub(crate) async fn send(&self, one: &Due) -> Result<DeliveryOutcome, MailOutage> {
        let message = match self.message(one) {
            Ok(message) => message,
            Err(error) => {
                let detail = without_addresses(&error.to_string());
                return Ok(DeliveryOutcome::Refused { reason: "RECIPIENT_REFUSED", detail });
            }
        };
        let error = match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => return Ok(DeliveryOutcome::Accepted),
            Ok(Err(error)) => error,
            Err(_) => {
                self.probe().await?;
                return Ok(DeliveryOutcome::TryLater { reason: "TIMED_OUT", detail: String::new() });
            }
        };
        let detail = without_addresses(&error.to_string());
        match error.status().map(meaning) {
            Some(Meaning::Outage) => Err(MailOutage(detail)),
            Some(Meaning::TryLater(reason)) => Ok(DeliveryOutcome::TryLater { reason, detail }),
            Some(Meaning::Refused(reason)) => Ok(DeliveryOutcome::Refused { reason, detail }),
            None if is_ours(&error) => Err(MailOutage(detail)),
            None => {
                self.probe().await?;
                Ok(DeliveryOutcome::TryLater { reason: "CONNECTION_LOST", detail })
            }
        }
    }

    fn message(&self, one: &Due) -> anyhow::Result<Message> {
        let recipient: Address = one.recipient.as_str().parse()?;
        // RFC 3834: a program wrote this; do not let another program answer it.
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient))
            .subject(&one.subject)
            .date_now()
            .message_id(Some(self.message_id(one)))
            .header(ContentType::TEXT_PLAIN)
            .raw_header(automatic)
            .body(one.body.clone())?;
        Ok(message)
    }

    /// The same for every attempt of a round, so that a mailbox can tell a second copy (RFC 5322, section 3.6.4).
    fn message_id(&self, one: &Due) -> String {
        format!("<{}.{}@{}>", one.notification_id, one.round, self.from.email.domain())
    }
}

enum Meaning {
    Outage,
    TryLater(&'static str),
    Refused(&'static str),
}

/// By the reply codes of RFC 5321 and RFC 4954.
fn meaning(code: Code) -> Meaning {
    match u16::from(code) {
        // The service is closing; our login is refused or missing: no message would get through.
        421 | 454 | 530 | 534 | 535 | 538 => Meaning::Outage,
        550 | 551 | 553 => Meaning::Refused("RECIPIENT_REFUSED"),
        500.. => Meaning::Refused("MESSAGE_REFUSED"),
        _ => Meaning::TryLater("SERVER_BUSY"),
    }
}

/// TLS, or something that the client found before a message was on its way, such as a server without STARTTLS.
fn is_ours(error: &Error) -> bool {
    error.is_tls() || error.is_client()
}

/// What a server said, for people: servers repeat addresses.
fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.contains('@') { "<address>" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(DETAIL_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_types::EmailAddress;
    use uuid::Uuid;

    use super::*;
    use crate::domain::Kind;

    fn due(recipient: &str) -> Due {
        Due {
            notification_id: Uuid::from_u128(1),
            order_id: Uuid::from_u128(2),
            kind: Kind::OrderPaid,
            recipient: EmailAddress::parse(recipient).unwrap(),
            subject: "Your order is paid".to_owned(),
            body: "Hello é\n".to_owned(),
            round: 2,
            round_attempts: 0,
            traceparent: String::new(),
        }
    }

    fn mailer(from: &str) -> anyhow::Result<Mailer> {
        let settings = SmtpSettings { from: from.to_owned(), security: SmtpSecurity::None, ..SmtpSettings::default() };
        Mailer::new(&settings)
    }

    #[tokio::test]
    async fn a_message_says_who_wrote_it_and_which_one_it_is() {
        let message = mailer("Shop <shop@example.com>").unwrap().message(&due("ada@example.com")).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        for line in [
            "From: Shop <shop@example.com>\r\n",
            "To: ada@example.com\r\n",
            "Subject: Your order is paid\r\n",
            "Message-ID: <00000000-0000-0000-0000-000000000001.2@example.com>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }

    #[test]
    fn a_sender_that_is_none_is_found_at_start() {
        let error = mailer("nobody").err().unwrap();
        assert!(error.to_string().contains("notification.smtp.from"), "{error}");
    }

    #[test]
    fn what_a_server_says_is_kept_without_addresses() {
        let said = "permanent error (550): 5.1.1 <ada@example.com>: no\r\nsuch user ada@example.com";
        assert_eq!(without_addresses(said), "permanent error (550): 5.1.1 <address> no such user <address>");
        assert_eq!(without_addresses(&"x".repeat(1_000)).len(), 300);
    }
}
