//! What has to hold between settings, and within texts that only their users understand: checked before a port is
//! bound, for the settings of all roles.

use std::collections::BTreeMap;

use openorder_config::settings::{Leaf, Settings, Visitor};
use openorder_config::{Problem, Source};
use openorder_rpc::tls::ServerTls;

use crate::mtls;
use crate::roles::Role;
use crate::settings::ProcessSettings;

/// Everything that is wrong with the settings of a process that is to serve these roles.
#[must_use]
pub fn check(settings: &ProcessSettings, roles: &[Role]) -> Vec<Problem> {
    let mut problems = match openorder_config::check(settings) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.0,
    };
    let mut forms = Forms { problems: Vec::new(), scheme: if mtls::is_on(settings) { "https" } else { "http" } };
    settings.clone().visit("", &mut forms);
    problems.append(&mut forms.problems);
    problems.extend(shared_addresses(settings, roles));
    if roles.contains(&Role::Gateway)
        && let Err(error) = ServerTls::load(&settings.gateway.tls)
    {
        problems.push(problem("gateway.tls.certificate_file", error.to_string()));
    }
    problems.extend(certificates(settings, roles));
    if let Err(error) = openorder_gateway::check_trusted_proxies(&settings.gateway) {
        problems.push(problem("gateway.trusted_proxies", format!("{error:#}")));
    }
    let security = settings.kafka.security_problems().into_iter();
    problems.extend(security.map(|(name, message)| problem(&format!("kafka.{name}"), message)));
    problems
}

/// Each role that is served shows a certificate, or none does.
fn certificates(settings: &ProcessSettings, roles: &[Role]) -> Vec<Problem> {
    let wrong = roles.iter().filter_map(|role| mtls::of(role.name(), settings).err());
    let mut wrong: Vec<String> = wrong.map(|error| error.to_string()).collect();
    // What is wrong for all of them is said once.
    wrong.dedup();
    wrong.into_iter().map(|message| problem("mtls.certificate_file", message)).collect()
}

/// Two roles cannot have one address.
fn shared_addresses(settings: &ProcessSettings, roles: &[Role]) -> Vec<Problem> {
    let admin = ("admin".to_owned(), settings.admin.listen_address.as_str());
    let listeners = roles.iter().map(|role| (role.to_string(), settings.listen_address(*role)));
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, address) in std::iter::once(admin).chain(listeners) {
        if let Some(other) = taken.get(address) {
            let message = format!("\"{address}\" is the address of {other} already; every listener needs its own");
            problems.push(problem(&format!("{name}.listen_address"), message));
        } else {
            taken.insert(address, name);
        }
    }
    problems
}

/// Reads the form of a text off the name of its setting, so that a new setting is checked without a word here.
struct Forms {
    problems: Vec<Problem>,
    /// That of the URLs of services.
    scheme: &'static str,
}

impl Visitor for Forms {
    fn setting(&mut self, key: &str, _: &[&'static str], value: &mut dyn Leaf) {
        let shown = value.shown();
        let name = key.rsplit('.').next().unwrap_or(key);
        let (holds, form) = match name {
            _ if key.starts_with("services.") => match self.scheme {
                "https" => {
                    (is_service(&shown, "https://"), "https://host:port, as there is TLS between the roles (mtls)")
                }
                _ => (is_service(&shown, "http://"), "http://host:port; https is for TLS between the roles (mtls)"),
            },
            "listen_address" => (is_address(&shown), "host:port with a port from 1 to 65535, such as 127.0.0.1:8080"),
            "database_url" => {
                (has_scheme(&shown, &["postgres", "postgresql"]), "postgres://user:password@host:port/database")
            }
            "brokers" => (shown.split(',').all(|one| is_address(one.trim())), "host:port, with commas between several"),
            "redis_url" => (has_scheme(&shown, &["redis", "rediss"]), "redis://host:port"),
            _ => return,
        };
        if !holds {
            self.problems.push(problem(key, format!("\"{shown}\" is not allowed; it must be {form}")));
        }
    }
}

pub(crate) fn problem(key: &str, message: String) -> Problem {
    Problem { key: Some(key.to_owned()), source: Source::Default, message }
}

/// Whether the text is `host:port`.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is_one = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', ' ', '@']),
    };
    host_is_one && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_service(text: &str, scheme: &str) -> bool {
    text.strip_prefix(scheme).is_some_and(|rest| is_address(rest.strip_suffix('/').unwrap_or(rest)))
}

fn has_scheme(text: &str, schemes: &[&str]) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use openorder_config::Secret;

    use super::*;

    fn keys(settings: &ProcessSettings, roles: &[Role]) -> Vec<String> {
        check(settings, roles).into_iter().filter_map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_are_good_for_every_role() {
        assert!(keys(&ProcessSettings::default(), Role::ALL).is_empty());
    }

    #[test]
    fn one_address_serves_one_role_and_those_that_are_not_served_do_not_count() {
        let mut settings = ProcessSettings::default();
        settings.order.listen_address = settings.product.listen_address.clone();
        assert_eq!(keys(&settings, Role::ALL), ["product.listen_address"]);
        assert!(keys(&settings, &[Role::Order]).is_empty());
        settings.order.listen_address = settings.admin.listen_address.clone();
        assert_eq!(keys(&settings, &[Role::Order]), ["order.listen_address"]);
    }

    #[test]
    fn texts_have_their_form() {
        let mut settings = ProcessSettings::default();
        settings.admin.listen_address = "8081".to_owned();
        settings.kafka.brokers = "a:1, b".to_owned();
        settings.services.order = "https://order:8101".to_owned();
        settings.inventory.database_url = Secret::new("hunter2");
        let expected = ["admin.listen_address", "kafka.brokers", "services.order", "inventory.database_url"];
        assert_eq!(keys(&settings, &[]), expected);
        let shown = check(&settings, &[]).iter().map(ToString::to_string).collect::<String>();
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_certificate_that_cannot_be_shown_is_found_where_the_gateway_is_served() {
        let mut settings = ProcessSettings::default();
        settings.gateway.tls.certificate_file = "/nowhere.pem".to_owned();
        settings.gateway.tls.private_key_file = "/nowhere-key.pem".to_owned();
        assert_eq!(keys(&settings, &[Role::Gateway]), ["gateway.tls.certificate_file"]);
        assert!(check(&settings, &[Role::Gateway])[0].to_string().contains("/nowhere.pem cannot be read"));
        assert!(keys(&settings, &[Role::Order]).is_empty());
    }

    #[test]
    fn roles_prove_who_they_are_with_all_files_and_by_https_or_not_at_all() {
        let mut settings = ProcessSettings::default();
        settings.mtls.ca_file = "/nowhere/ca.pem".to_owned();
        assert_eq!(keys(&settings, Role::ALL), ["mtls.certificate_file"], "said once");
        assert!(check(&settings, Role::ALL)[0].to_string().contains("certificate_file is empty"));
        settings.mtls.certificate_file = "/nowhere/{role}.pem".to_owned();
        settings.mtls.private_key_file = "/nowhere/{role}-key.pem".to_owned();
        let problems = check(&settings, &[Role::Order]);
        let of = |key: &str| problems.iter().find(|problem| problem.key.as_deref() == Some(key)).unwrap().to_string();
        assert!(of("mtls.certificate_file").contains("/nowhere/order.pem cannot be read"));
        assert!(of("services.product").contains("it must be https://host:port"));
        let urls: Vec<_> = keys(&settings, &[]).into_iter().filter(|key| key.starts_with("services.")).collect();
        assert_eq!(urls.len(), Role::ALL.len() - 1, "each of them");
        for role in Role::ALL {
            settings.listen_on(*role, settings.listen_address(*role).to_owned().as_str());
        }
        assert!(keys(&settings, &[]).is_empty(), "moved with TLS, they are found with TLS");
    }

    #[test]
    fn a_proxy_that_is_no_address_is_found_before_a_port_is_bound() {
        let mut settings = ProcessSettings::default();
        settings.gateway.trusted_proxies = vec!["10.0.0.0/8".to_owned(), "proxy.internal".to_owned()];
        assert_eq!(keys(&settings, &[]), ["gateway.trusted_proxies"]);
        assert!(check(&settings, &[])[0].to_string().contains("\"proxy.internal\""));
    }

    #[test]
    fn bounds_hold_for_settings_made_by_code_too() {
        let mut settings = ProcessSettings::default();
        settings.process.worker_threads = 100_000;
        assert_eq!(keys(&settings, &[]), ["process.worker_threads"]);
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["127.0.0.1:1", "[::1]:8080", "localhost:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", ":1", "h:0", "h:65536", "h", "::1:80", "[::g]:1", "http://h:1"] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(is_service("http://order:8101/", "http://") && !is_service("http://order:8101/path", "http://"));
    }
}
