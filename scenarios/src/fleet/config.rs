//! The settings' file of a fleet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::{Servers, roles};

/// Writes the file: a line that comes later in `settings` stands instead of one of the same name.
pub(super) fn write(
    file: &Path,
    name: &str,
    servers: &Servers,
    addresses: &[(&'static str, SocketAddr)],
    settings: &[(&str, &str)],
) {
    let mut all = Sections::default();
    let address = |role: &str| addresses.iter().find(|(known, _)| *known == role).expect("a role").1;
    all.set("kafka", "brokers", &format!("\"{}\"", servers.brokers));
    all.set("kafka", "topic_prefix", &format!("\"{name}.\""));
    all.set("kafka", "partitions", "4");
    all.set("kafka", "session_timeout_ms", "6000");
    all.set("telemetry", "otlp_endpoint", "\"\"");
    for service in ["order", "notification", "analytics", "cart", "user"] {
        all.set(service, "redis_url", &format!("\"{}\"", servers.redis));
    }
    for service in roles::behind_gateway() {
        all.set("services", service, &format!("\"http://{}\"", address(service)));
        all.set(service, "database_url", &format!("\"{}/{name}_{service}\"", servers.postgres));
        all.set(&format!("{service}.database"), "connections_max", "8");
        all.set(&format!("{service}.database"), "probe_interval_ms", "500");
    }
    // Nobody signs in, but where a story is about it.
    all.set("gateway", "anonymous", "\"operator\"");
    // Instances of a service share the calls, and one that was away is found again soon.
    all.set("gateway.client", "connections", "4");
    for (section, lines) in settings {
        for line in lines.lines() {
            let (name, value) = line.split_once('=').expect("name = value");
            all.set(section, name.trim(), value.trim());
        }
    }
    std::fs::write(file, all.text()).expect("a file of settings");
}

#[derive(Default)]
struct Sections(BTreeMap<String, BTreeMap<String, String>>);

impl Sections {
    fn set(&mut self, section: &str, name: &str, value: &str) {
        self.0.entry(section.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (section, lines) in &self.0 {
            writeln!(text, "[{section}]").expect("text");
            for (name, value) in lines {
                writeln!(text, "{name} = {value}").expect("text");
            }
        }
        text
    }
}
