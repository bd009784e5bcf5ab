//! How brokers are reached: in the clear or by TLS, and with which account.
//!
//! TLS, and SCRAM, which needs its library, are in programs that are built with the feature `kafka-tls` (ADR 31). What a
//! build cannot do it refuses at start, by the name of the setting, instead of failing at the first connection.

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::KafkaSettings;

/// Whether this program was built with TLS for Kafka.
pub const HAS_TLS: bool = cfg!(feature = "kafka-tls");

const PROTOCOLS: &[&str] = &["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
const MECHANISMS: &[&str] = &["plain", "scram-sha-256", "scram-sha-512"];

impl KafkaSettings {
    /// Whether brokers are reached in the clear and without an account: they refuse nobody then.
    pub(crate) fn is_plaintext(&self) -> bool {
        self.security_protocol == "plaintext"
    }

    fn uses_tls(&self) -> bool {
        matches!(self.security_protocol.as_str(), "ssl" | "sasl_ssl")
    }

    fn uses_sasl(&self) -> bool {
        self.security_protocol.starts_with("sasl_")
    }

    /// What is wrong with how brokers are to be reached: the name of a setting within the section, and a sentence. Files
    /// are looked for.
    #[must_use]
    pub fn security_problems(&self) -> Vec<(&'static str, String)> {
        self.problems_of_build(HAS_TLS)
    }

    fn problems_of_build(&self, has_tls: bool) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut problem = |name, text: String| problems.push((name, text));
        let built = "this program was built without TLS for Kafka; build it with --features kafka-tls";
        if !PROTOCOLS.contains(&self.security_protocol.as_str()) {
            problem("security_protocol", format!("must be one of {}", PROTOCOLS.join(", ")));
            return problems;
        }
        if self.uses_tls() && !has_tls {
            problem("security_protocol", format!("\"{}\" cannot be used: {built}", self.security_protocol));
        }
        if self.uses_sasl() {
            if !MECHANISMS.contains(&self.sasl_mechanism.as_str()) {
                problem("sasl_mechanism", format!("must be one of {}", MECHANISMS.join(", ")));
            } else if self.sasl_mechanism.starts_with("scram") && !has_tls {
                problem("sasl_mechanism", format!("\"{}\" cannot be used: {built}", self.sasl_mechanism));
            }
            if self.sasl_username.is_empty() || self.sasl_password.is_empty() {
                problem("sasl_username", "user name and password are needed to sign in at the brokers".to_owned());
            }
        } else if !self.sasl_mechanism.is_empty() || !self.sasl_username.is_empty() {
            let text = "would not be used: kafka.security_protocol has to be sasl_ssl (or sasl_plaintext)";
            problem("sasl_mechanism", text.to_owned());
        }
        let files = [
            ("tls_ca_file", &self.tls_ca_file),
            ("tls_certificate_file", &self.tls_certificate_file),
            ("tls_key_file", &self.tls_key_file),
        ];
        for (name, path) in files.into_iter().filter(|(_, path)| !path.is_empty()) {
            if !self.uses_tls() {
                problem(name, "would not be used: kafka.security_protocol has to be ssl or sasl_ssl".to_owned());
            } else if let Err(error) = std::fs::File::open(path) {
                problem(name, format!("{path} cannot be read: {error}"));
            }
        }
        if self.tls_certificate_file.is_empty() != self.tls_key_file.is_empty() {
            problem("tls_certificate_file", "certificate and key are given together, or neither".to_owned());
        }
        problems
    }
}

/// Has the client reach brokers as the settings say. Without any, nothing is set that a build without TLS would refuse.
pub(crate) fn apply(config: &mut ClientConfig, settings: &KafkaSettings) {
    if settings.is_plaintext() {
        return;
    }
    config.set("security.protocol", &settings.security_protocol);
    if settings.uses_sasl() {
        config
            .set("sasl.mechanism", settings.sasl_mechanism.to_uppercase())
            .set("sasl.username", &settings.sasl_username)
            .set("sasl.password", settings.sasl_password.expose());
    }
    if settings.uses_tls() {
        // OpenSSL is part of the program, and knows no place of this system's: the usual ones are tried.
        let authorities = if settings.tls_ca_file.is_empty() { "probe" } else { &settings.tls_ca_file };
        let verified = if settings.tls_verify_hostname { "https" } else { "none" };
        config.set("ssl.ca.location", authorities).set("ssl.endpoint.identification.algorithm", verified);
        if !settings.tls_certificate_file.is_empty() {
            config
                .set("ssl.certificate.location", &settings.tls_certificate_file)
                .set("ssl.key.location", &settings.tls_key_file);
        }
    }
}

/// Which settings a broker's refusal is about, and why; none where the error is no refusal. librdkafka's reason names
/// broker and cause, never the password.
pub(crate) fn refusal(error: &KafkaError, reason: &str) -> Option<String> {
    let settings = match error.rdkafka_error_code()? {
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::UnsupportedSASLMechanism
        | RDKafkaErrorCode::IllegalSASLState => {
            "the brokers refuse this account (kafka.sasl_username, kafka.sasl_password, kafka.sasl_mechanism)"
        }
        RDKafkaErrorCode::SSL if reason.contains("verif") => {
            "the brokers' certificate is not trusted (kafka.tls_ca_file, kafka.tls_verify_hostname)"
        }
        RDKafkaErrorCode::SSL => {
            "no TLS with the brokers (kafka.security_protocol, kafka.brokers, kafka.tls_certificate_file)"
        }
        _ => return None,
    };
    Some(format!("{settings}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sasl(protocol: &str, mechanism: &str) -> KafkaSettings {
        KafkaSettings {
            security_protocol: protocol.to_owned(),
            sasl_mechanism: mechanism.to_owned(),
            sasl_username: "app".to_owned(),
            sasl_password: "secret".into(),
            ..Default::default()
        }
    }

    fn names(settings: &KafkaSettings, has_tls: bool) -> Vec<&'static str> {
        settings.problems_of_build(has_tls).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_a_build_without_tls_cannot_do_is_refused_with_the_way_out() {
        assert!(names(&KafkaSettings::default(), false).is_empty());
        assert!(names(&sasl("sasl_plaintext", "plain"), false).is_empty());
        assert_eq!(names(&sasl("sasl_plaintext", "scram-sha-512"), false), ["sasl_mechanism"]);
        assert_eq!(names(&sasl("sasl_ssl", "plain"), false), ["security_protocol"]);
        assert!(names(&sasl("sasl_ssl", "scram-sha-512"), true).is_empty());
        let (_, text) = sasl("sasl_ssl", "plain").problems_of_build(false).remove(0);
        assert!(text.contains("--features kafka-tls"), "{text}");
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        let with = |change: fn(&mut KafkaSettings)| {
            let mut settings = sasl("sasl_ssl", "plain");
            change(&mut settings);
            names(&settings, true)
        };
        assert_eq!(with(|settings| settings.security_protocol = "tls".to_owned()), ["security_protocol"]);
        assert_eq!(with(|settings| settings.security_protocol = "plaintext".to_owned()), ["sasl_mechanism"]);
        assert_eq!(with(|settings| settings.sasl_mechanism = "gssapi".to_owned()), ["sasl_mechanism"]);
        assert_eq!(with(|settings| settings.sasl_password = "".into()), ["sasl_username"]);
        assert_eq!(with(|settings| settings.tls_ca_file = "/nowhere".to_owned()), ["tls_ca_file"]);
        assert_eq!(with(|settings| settings.tls_key_file = "/dev/null".to_owned()), ["tls_certificate_file"]);
    }

    #[test]
    fn a_refusal_names_the_settings_it_is_about_and_an_outage_is_none() {
        let of = |code, reason| refusal(&KafkaError::Global(code), reason);
        let account = of(RDKafkaErrorCode::Authentication, "SASL authentication error").unwrap();
        assert!(account.contains("kafka.sasl_password") && account.ends_with("SASL authentication error"), "{account}");
        let authority = of(RDKafkaErrorCode::SSL, "certificate verify failed").unwrap();
        assert!(authority.contains("kafka.tls_ca_file"), "{authority}");
        assert!(of(RDKafkaErrorCode::SSL, "wrong version number").unwrap().contains("kafka.security_protocol"));
        assert_eq!(of(RDKafkaErrorCode::BrokerTransportFailure, "Connection refused"), None);
        assert_eq!(of(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down"), None);
    }

    #[test]
    fn librdkafka_takes_what_this_build_allows() {
        use rdkafka::consumer::BaseConsumer;

        use crate::client::KafkaClient;

        let mut allowed = vec![sasl("sasl_plaintext", "plain")];
        if HAS_TLS {
            allowed.extend([
                sasl("sasl_ssl", "plain"),
                sasl("sasl_ssl", "scram-sha-256"),
                sasl("sasl_ssl", "scram-sha-512"),
            ]);
        }
        for settings in allowed {
            assert!(settings.security_problems().is_empty());
            let created = KafkaClient::<BaseConsumer>::create(&crate::kafka::consumer(&settings, "security-test"));
            assert!(created.is_ok(), "{} {}: {:?}", settings.security_protocol, settings.sasl_mechanism, created.err());
        }
    }
}
