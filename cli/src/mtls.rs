//! TLS between the roles, as the settings of a process have it.

use openorder_rpc::tls::{RoleTls, TlsError};
use openorder_rpc::vouching::TOOLS;

use crate::roles::Role;
use crate::settings::ProcessSettings;

/// All that have a certificate: the roles, and the commands that call a service themselves.
pub(crate) fn certified() -> impl Iterator<Item = &'static str> {
    Role::ALL.iter().map(|role| role.name()).chain([TOOLS])
}

/// The certificate of one of them; none where roles do not prove to each other who they are.
///
/// # Errors
/// A file that cannot be read or used.
pub(crate) fn of(name: &str, settings: &ProcessSettings) -> Result<Option<RoleTls>, TlsError> {
    RoleTls::load(name, &settings.mtls, certified())
}

/// Whether roles prove to each other who they are.
pub(crate) fn is_on(settings: &ProcessSettings) -> bool {
    !settings.mtls.certificate_file.is_empty()
}
