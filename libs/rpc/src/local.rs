//! Services of this process, called without a socket.
//!
//! A call then goes through all that surrounds the service's handlers (trace, deadline, limits, metrics, panics); only
//! HTTP/2 and the socket are left out. One list for the process: an address is the whole process's, too.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockWriteGuard};

use crate::server::RpcService;

/// The services that take calls, by the address that each listens on.
static SERVICES: LazyLock<RwLock<HashMap<SocketAddr, RpcService>>> = LazyLock::new(RwLock::default);

/// Enters a service until the guard is dropped.
pub(crate) fn enter(address: SocketAddr, service: RpcService) -> Entered {
    services().insert(address, service.clone());
    Entered { address, service }
}

/// The service that listens there, if it is one of this process and takes calls.
pub(crate) fn find(address: SocketAddr) -> Option<RpcService> {
    SERVICES.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
}

fn services() -> RwLockWriteGuard<'static, HashMap<SocketAddr, RpcService>> {
    SERVICES.write().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, the service can be found.
pub(crate) struct Entered {
    address: SocketAddr,
    service: RpcService,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut services = services();
        // The address may already be that of another one.
        if services.get(&self.address).is_some_and(|service| service.is(&self.service)) {
            services.remove(&self.address);
        }
    }
}
