//! Callers that did not sign in and come by a proxy: each address that the proxy names has what an address has that calls by
//! itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use openorder_rpc::server::peer_of;

use crate::config::GatewaySettings;
use crate::identity::CallCount;
use crate::proxies::Proxies;
use crate::rates::CallerRate;
use crate::shares::Member;

/// An address that has not called for so long is forgotten where there is no room for another one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// How often it is looked for such addresses at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What the calls of one address count against.
#[derive(Clone)]
pub(crate) struct ProxiedCaller {
    pub(crate) member: Arc<Member>,
    pub(crate) calls: CallCount,
    /// What it has left, where callers have a limit.
    pub(crate) rate: Option<Arc<CallerRate>>,
}

/// All addresses behind proxies that called lately, up to a bound.
pub(crate) struct ProxiedCallers {
    proxies: Proxies,
    addresses_max: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    addresses: HashMap<IpAddr, Kept>,
    swept: Option<Instant>,
}

struct Kept {
    proxied_caller: ProxiedCaller,
    last_call: Instant,
}

impl ProxiedCallers {
    /// # Errors
    ///
    /// An entry of `gateway.trusted_proxies` that is none.
    pub(crate) fn new(settings: &GatewaySettings) -> anyhow::Result<Self> {
        let proxies = Proxies::new(&settings.trusted_proxies, settings.proxy_hops_max)?;
        Ok(Self { proxies, addresses_max: settings.proxied_addresses_max, known: Mutex::default() })
    }

    /// Whether who calls from this address is a proxy, and believed.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.trusts(address)
    }

    /// Who makes a call that came by a proxy; `make` makes what an address has. None where the proxy does not say, or where
    /// there are as many others as may be: then it is the proxy's own call.
    pub(crate) fn of(
        &self,
        headers: &HeaderMap,
        now: Instant,
        make: impl FnOnce(IpAddr) -> ProxiedCaller,
    ) -> Option<ProxiedCaller> {
        let address = peer_of(self.proxies.origin(headers)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = known.addresses.get_mut(&address) {
            kept.last_call = now;
            return Some(kept.proxied_caller.clone());
        }
        if known.addresses.len() >= self.addresses_max {
            known.sweep(now);
        }
        if known.addresses.len() >= self.addresses_max {
            return None;
        }
        let proxied_caller = make(address);
        known.addresses.insert(address, Kept { proxied_caller: proxied_caller.clone(), last_call: now });
        Some(proxied_caller)
    }
}

impl Known {
    /// Forgets who has not called for a while. Whoever is under way keeps its share, and gets it again.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.addresses.retain(|_, kept| {
            kept.calls_are_under_way() || now.saturating_duration_since(kept.last_call) < FORGOTTEN_AFTER
        });
    }
}

impl Kept {
    fn calls_are_under_way(&self) -> bool {
        self.proxied_caller.calls.get() > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderValue;

    use super::*;
    use crate::shares::{Limit, Percent, Resource, Shares};

    struct World {
        proxied_callers: ProxiedCallers,
        shares: Shares,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let settings = GatewaySettings {
                trusted_proxies: vec!["10.0.0.1".to_owned()],
                proxied_addresses_max: 16,
                ..GatewaySettings::default()
            };
            let shares = Shares::new(|_| Limit::new(10, 1, Percent { peer: 90, connection: 50 }));
            Self { proxied_callers: ProxiedCallers::new(&settings).unwrap(), shares, now: Instant::now() }
        }

        fn call(&self, address: &str, seconds: u64) -> Option<ProxiedCaller> {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", HeaderValue::from_str(address).unwrap());
            self.proxied_callers.of(&headers, self.now + Duration::from_secs(seconds), |address| ProxiedCaller {
                member: self.shares.member(address),
                calls: CallCount::default(),
                rate: None,
            })
        }
    }

    #[test]
    fn an_address_is_the_same_caller_by_whatever_call_and_no_other_is() {
        let world = World::new();
        let one = world.call("192.0.2.1", 0).unwrap();
        let again = world.call("192.0.2.1", 1).unwrap();
        let other = world.call("192.0.2.2", 1).unwrap();
        assert!(Arc::ptr_eq(&one.member, &again.member) && !Arc::ptr_eq(&one.member, &other.member));
        assert_eq!(one.member.address().map(|address| address.to_string()).as_deref(), Some("192.0.2.1"));
        let taken: Vec<_> = std::iter::from_fn(|| one.member.take(Resource::Calls, 1)).collect();
        assert!(!taken.is_empty() && again.member.take(Resource::Calls, 1).is_none());
        assert!(other.member.take(Resource::Calls, 1).is_some(), "another one has its own share");
        let (network, neighbour) = (world.call("2001:db8::1", 1).unwrap(), world.call("2001:db8::2", 1).unwrap());
        assert!(Arc::ptr_eq(&network.member, &neighbour.member), "a network of 64 bits is one");
        assert!(world.proxied_callers.is_proxy("10.0.0.1".parse().unwrap()));
        assert!(!world.proxied_callers.is_proxy("192.0.2.1".parse().unwrap()));
        assert!(world.call("nonsense", 1).is_none(), "a call of the proxy's own");
    }

    #[test]
    fn beyond_the_bound_calls_are_the_proxys_until_others_have_not_called_for_a_while() {
        let world = World::new();
        let first = world.call("192.0.2.0", 0).unwrap();
        let _under_way = first.calls.begin();
        for number in 1..16 {
            assert!(world.call(&format!("192.0.2.{number}"), 0).is_some());
        }
        assert!(world.call("198.51.100.1", 1).is_none());
        assert!(world.call("192.0.2.15", 30).is_some(), "who is known stays so");
        assert!(world.call("198.51.100.1", 61).is_some());
        let kept = world.proxied_callers.known.lock().unwrap().addresses.len();
        assert_eq!(kept, 3, "the one that calls, the one that has called, and the new one");
    }
}
