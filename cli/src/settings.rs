//! The settings of a process itself; those of its services are in the [list](crate::services), each section declared by
//! the crate that uses it.

use openorder_config::settings::{Leaf, Settings, Visitor};
use openorder_config::value::Raw;
use openorder_config::{Secret, settings};

pub use crate::services::ProcessSettings;

use crate::mtls;
use crate::services::Role;

settings! {
    /// The process itself.
    pub struct RuntimeSettings {
        /// Threads that run the work of all roles; 0: one a core.
        worker_threads: usize = 0, 0..=1_024;
        /// How long the work in hand may take to end once a stop was asked for, in milliseconds; what is left is cut.
        drain_timeout_ms: u64 = 30_000, 0..=600_000;
        /// How long the gateway may end its calls before the services of the same process begin to end, in milliseconds.
        gateway_head_start_ms: u64 = 1_000, 0..=600_000;
        /// Secret that page tokens are signed with, the same in all processes of a role. Empty: a random one, and page tokens end with the process.
        page_token_secret: Secret = "";
        /// Bytes of one page of a list at most; it then ends before page_size is reached. An item that is larger comes alone.
        page_bytes_max: usize = 1_048_576, 1_024..=4_000_000;
        /// Bytes of an answer without pages, to a request that names its items; beyond, fewer have to be asked for.
        batch_bytes_max: usize = 4_128_768, 1_024..=67_108_864;
    }
}

settings! {
    /// The port for operators, one a process, without authentication.
    pub struct AdminSettings {
        /// Address of /livez, /readyz, /metrics and /config (the settings, without secrets).
        listen_address: String = "127.0.0.1:8081";
    }
}

impl ProcessSettings {
    /// Has a role listen at another address (`host:port`), and all roles that call it find it there: over TLS, if the settings
    /// of that (`mtls`) are set already.
    pub fn listen_on(&mut self, role: Role, address: &str) {
        let scheme = if mtls::is_on(self) { "https" } else { "http" };
        self.visit("", &mut Move { role, address, scheme });
    }
}

struct Move<'a> {
    role: Role,
    address: &'a str,
    scheme: &'static str,
}

impl Visitor for Move<'_> {
    fn setting(&mut self, key: &str, _: &[&'static str], value: &mut dyn Leaf) {
        let role = self.role.name();
        let text = if key.strip_suffix(".listen_address") == Some(role) {
            self.address.to_owned()
        } else if key.strip_prefix("services.") == Some(role) {
            format!("{}://{}", self.scheme, self.address)
        } else {
            return;
        };
        // Both are texts, which are never refused here.
        drop(value.set(&Raw::Text(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_moves_is_found_by_all_who_call_it() {
        let mut settings = ProcessSettings::default();
        settings.listen_on(Role::Product, "127.0.0.1:1");
        settings.listen_on(Role::Gateway, "127.0.0.1:2");
        assert_eq!(settings.listen_address(Role::Product), "127.0.0.1:1");
        assert_eq!(settings.listen_address(Role::Gateway), "127.0.0.1:2");
        assert_eq!(settings.services.product, "http://127.0.0.1:1");
        assert_eq!(settings.services.order, ProcessSettings::default().services.order);
    }
}
