//! Which method goes where: read from the contract, so that a new method needs no line here.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use openorder_rpc::{BatchSettings, RpcClientSettings, Upstream};
use prost::Message;
use prost_types::FileDescriptorSet;

use crate::admission::{Admission, AdmissionSettings};

/// A service behind the gateway.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The role that answers, such as `order`.
    pub role: &'static str,
    /// Full name of its gRPC service, such as `openorder.order.v1.OrderService`.
    pub service: &'static str,
    /// Where it answers, `http://host:port`.
    pub url: String,
}

/// One method of a service behind the gateway.
pub(crate) struct Route {
    pub(crate) upstream: Arc<Upstream>,
    /// How many calls the service is given at a time; streams are counted apart.
    pub(crate) admission: Admission,
    /// Its number among the service's methods.
    pub(crate) number: usize,
    /// Whether the answer is a stream, which may stay open for hours.
    pub(crate) streams: bool,
    /// Whether the request is a stream, of any number of messages.
    pub(crate) takes_stream: bool,
}

/// All methods, by path (`/package.Service/Method`), and the services they belong to.
pub(crate) struct RouteTable {
    methods: HashMap<String, Arc<Route>>,
    services: Vec<(Backend, Arc<Upstream>)>,
}

impl RouteTable {
    /// The methods that the descriptor set gives each backend's service.
    pub(crate) fn new(
        descriptors: &[u8],
        backends: Vec<Backend>,
        client: &RpcClientSettings,
        batch: &BatchSettings,
        admission: AdmissionSettings,
    ) -> anyhow::Result<Self> {
        let descriptors = FileDescriptorSet::decode(descriptors).context("the contract's descriptors do not decode")?;
        let mut table = Self { methods: HashMap::new(), services: Vec::new() };
        for backend in backends {
            let upstream = Upstream::with_batches(&backend.url, client, batch)
                .with_context(|| format!("services.{}", backend.role))
                .map(Arc::new)?;
            let admission = Admission::new(backend.role, admission);
            let found = table.add(&descriptors, backend.service, &upstream, &admission);
            anyhow::ensure!(found, "the contract has no service {}", backend.service);
            table.services.push((backend, upstream));
        }
        Ok(table)
    }

    fn add(
        &mut self,
        descriptors: &FileDescriptorSet,
        service: &str,
        upstream: &Arc<Upstream>,
        admission: &Admission,
    ) -> bool {
        let mut found = false;
        for file in &descriptors.file {
            for candidate in &file.service {
                if format!("{}.{}", file.package(), candidate.name()) != service {
                    continue;
                }
                found = true;
                for (number, method) in candidate.method.iter().enumerate() {
                    let path = format!("/{service}/{}", method.name());
                    let route = Route {
                        upstream: Arc::clone(upstream),
                        admission: admission.clone(),
                        number,
                        streams: method.server_streaming(),
                        takes_stream: method.client_streaming(),
                    };
                    self.methods.insert(path, Arc::new(route));
                }
            }
        }
        found
    }

    /// The route of a path, if there is such a method.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.methods.get(path)
    }

    /// All paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(String::as_str)
    }

    /// All services with their upstreams.
    pub(crate) fn services(&self) -> &[(Backend, Arc<Upstream>)] {
        &self.services
    }
}
