//! TLS between the roles, as the settings of a process have it.

use openorder_rpc::tls::{RoleTls, TlsError};
use openorder_rpc::vouching::{KnownRole, TOOLS};

use crate::roles::Role;
use crate::settings::ProcessSettings;

/// All that have a certificate: the roles, and the commands that call a service themselves.
pub(crate) fn certified() -> impl Iterator<Item = &'static str> {
    known().map(|known| known.name)
}

fn known() -> impl Iterator<Item = KnownRole> {
    let roles = Role::ALL.iter().map(|role| KnownRole { name: role.name(), passes_callers_on: role.calls_others() });
    roles.chain([KnownRole { name: TOOLS, passes_callers_on: false }])
}

/// The certificate of one of them; none where roles do not prove to each other who they are.
///
/// # Errors
/// A file that cannot be read or used.
pub(crate) fn of(name: &str, settings: &ProcessSettings) -> Result<Option<RoleTls>, TlsError> {
    RoleTls::load(name, &settings.mtls, known())
}

/// Whether roles prove to each other who they are.
pub(crate) fn is_on(settings: &ProcessSettings) -> bool {
    !settings.mtls.certificate_file.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_call_nobody_pass_nobody_on() {
        let alone: Vec<_> = known().filter(|known| !known.passes_callers_on).map(|known| known.name).collect();
        assert_eq!(alone, ["product", "notification", "promotion", "shipping", "user", TOOLS]);
    }
}
