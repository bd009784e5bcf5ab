//! Mail by SMTP (RFC 5321), and what the server's answers mean.

use std::time::Duration;

use anyhow::{Context, ensure};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error, PoolConfig,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
        response::Code,
    },
};

use crate::{
    config::{SmtpSecurity, SmtpSettings},
    delivery::{
        certificates::{is_this_machine, read_certificates},
        provider::{Answer, Outage, Provider, without_addresses},
    },
    domain::Channel,
    persistence::Due,
};

/// Hands mail to one server.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    /// Bound of connecting, and of handing over one message.
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
        let from = Mailbox::new(from.name, ascii_domain(from.email)?);
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls(settings)?)
            .timeout(Some(timeout))
            .pool_config(PoolConfig::new().max_size(settings.connections_max));
        if !settings.username.is_empty() {
            ensure!(
                settings.security != SmtpSecurity::None || is_this_machine(&settings.host),
                "notification.smtp.username needs notification.smtp.security = starttls or tls: \
                 the password would be readable on its way"
            );
            let password = settings.password.expose().to_owned();
            builder = builder.credentials(Credentials::new(settings.username.clone(), password));
        }
        Ok(Self { transport: builder.build(), from, timeout })
    }

    /// A connection that the server answers on. It goes back to the pool, where [`Self::hand_over`] finds it.
    async fn connect(&self) -> Result<(), Outage> {
        match tokio::time::timeout(self.timeout, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Outage("the server closed the connection".to_owned())),
            Ok(Err(error)) => Err(Outage(without_addresses(&error.to_string()))),
            Err(_) => Err(Outage("the server does not answer".to_owned())),
        }
    }

    /// `is_plain`: whether every mail server can write the recipient's address.
    async fn hand_over(&self, message: Message, is_plain: bool) -> Result<Answer, Outage> {
        let error = match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => return Ok(Answer::Accepted),
            Ok(Err(error)) => error,
            Err(_) => return Ok(Answer::Unknown { reason: "TIMED_OUT", detail: String::new() }),
        };
        let detail = without_addresses(&error.to_string());
        match error.status().map(meaning) {
            Some(Meaning::Outage) => Err(Outage(detail)),
            Some(Meaning::Busy) => Ok(Answer::Busy { reason: "SERVER_BUSY", detail, retry_after: None }),
            Some(Meaning::Refused(reason)) => Ok(Answer::Refused { reason, detail }),
            // A server without SMTPUTF8 (RFC 6531) is well, and will never take a message to this address.
            None if error.is_client() && !is_plain => Ok(Answer::Refused { reason: "ADDRESS_NOT_SUPPORTED", detail }),
            None if is_ours(&error) => Err(Outage(detail)),
            None if error.is_timeout() => Ok(Answer::Unknown { reason: "TIMED_OUT", detail }),
            None => Ok(Answer::Unknown { reason: "CONNECTION_LOST", detail }),
        }
    }

    fn message(&self, one: &Due) -> anyhow::Result<Message> {
        let recipient = ascii_domain(one.recipient.as_str().parse()?)?;
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

impl Provider for Mailer {
    fn channel(&self) -> Channel {
        Channel::Email
    }

    fn name(&self) -> &'static str {
        "smtp"
    }

    fn transport(&self) -> &'static str {
        "smtp"
    }

    fn timeout(&self) -> Duration {
        self.timeout * 2
    }

    async fn probe(&self) -> Result<bool, Outage> {
        self.connect().await.map(|()| true)
    }

    /// The connection is looked at first: what fails on it from then on may have reached the server, and what failed
    /// before has not.
    async fn send(&self, one: &Due) -> Result<Answer, Outage> {
        match self.message(one) {
            Ok(message) => {
                self.connect().await?;
                let is_plain = message.envelope().to().iter().all(|to| AsRef::<str>::as_ref(to).is_ascii());
                self.hand_over(message, is_plain).await
            }
            Err(error) => {
                let detail = without_addresses(&error.to_string());
                Ok(Answer::Refused { reason: "RECIPIENT_REFUSED", detail })
            }
        }
    }
}

/// The domain as the name servers know it (RFC 5891): then only the part before the @ needs a server with SMTPUTF8.
fn ascii_domain(address: Address) -> anyhow::Result<Address> {
    if address.domain().is_ascii() {
        return Ok(address);
    }
    let domain = idna::domain_to_ascii(address.domain()).context("the domain of the address is no domain name")?;
    Ok(Address::new(address.user(), domain)?)
}

fn tls(settings: &SmtpSettings) -> anyhow::Result<Tls> {
    let parameters = || -> anyhow::Result<TlsParameters> {
        let mut parameters = TlsParameters::builder(settings.host.clone());
        let trusted = read_certificates("notification.smtp.ca_certificate_file", &settings.ca_certificate_file)?;
        for certificate in trusted {
            parameters = parameters.add_root_certificate(Certificate::from_der(certificate.to_vec())?);
        }
        parameters.build().context("notification.smtp.host cannot be used for TLS")
    };
    Ok(match settings.security {
        SmtpSecurity::None => Tls::None,
        SmtpSecurity::Starttls => Tls::Required(parameters()?),
        SmtpSecurity::Tls => Tls::Wrapper(parameters()?),
    })
}

enum Meaning {
    Outage,
    Busy,
    Refused(&'static str),
}

/// By the reply codes of RFC 5321 and RFC 4954.
fn meaning(code: Code) -> Meaning {
    match u16::from(code) {
        // The service is closing; our login is refused or missing: no message would get through.
        421 | 454 | 530 | 534 | 535 | 538 => Meaning::Outage,
        550 | 551 | 553 => Meaning::Refused("RECIPIENT_REFUSED"),
        500.. => Meaning::Refused("MESSAGE_REFUSED"),
        _ => Meaning::Busy,
    }
}

/// TLS, or something that the client found before a message was on its way, such as a server without STARTTLS.
fn is_ours(error: &Error) -> bool {
    error.is_tls() || error.is_client()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_types::{EmailAddress, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Kind, Recipient};

    fn due(recipient: &str) -> Due {
        Due {
            notification_id: Uuid::from_u128(1),
            order_id: Uuid::from_u128(2),
            kind: Kind::OrderPaid,
            recipient: Recipient::Email(EmailAddress::parse(recipient).unwrap()),
            subject: "Your order is paid".to_owned(),
            body: "Hello é\n".to_owned(),
            round: 2,
            round_attempts: 0,
            request_time: Timestamp::UNIX_EPOCH,
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

    #[tokio::test]
    async fn domains_are_written_as_name_servers_know_them() {
        let message = mailer("Shop <shop@müller.example>").unwrap().message(&due("ada@bücher.example")).unwrap();
        let (from, to) = (message.envelope().from().unwrap(), &message.envelope().to()[0]);
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("shop@xn--mller-kva.example".into(), "ada@xn--bcher-kva.example".into())
        );
    }

    #[test]
    fn a_sender_that_is_none_is_found_at_start() {
        let error = mailer("nobody").err().unwrap();
        assert!(error.to_string().contains("notification.smtp.from"), "{error}");
    }

    #[tokio::test]
    async fn a_password_is_not_sent_in_the_open() {
        let open = |host: &str, security| {
            let (host, username) = (host.to_owned(), "shop".to_owned());
            Mailer::new(&SmtpSettings { host, security, username, ..SmtpSettings::default() }).map(|_| ())
        };
        let error = open("mail.example.com", SmtpSecurity::None).unwrap_err();
        assert!(error.to_string().contains("notification.smtp.security"), "{error}");
        open("127.0.0.1", SmtpSecurity::None).unwrap();
    }
}
