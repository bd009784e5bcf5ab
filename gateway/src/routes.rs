//! Which method goes where: read from the contract, so that a new method needs no line here.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use http::uri::PathAndQuery;
use openorder_rpc::tls::RoleTls;
use openorder_rpc::{BatchSettings, RpcClientSettings, Upstream};

use crate::access::Access;
use crate::admission::{Admission, AdmissionSettings};
use crate::transcode::contract::{Contract, Procedure};
use crate::transcode::rest::RestRoutes;

/// The role whose service knows who may sign in.
const USER_ROLE: &str = "user";

/// A service behind the gateway.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The role that answers, such as `order`.
    pub role: &'static str,
    /// Full name of its gRPC service, such as `openorder.order.v1.OrderService`.
    pub service: &'static str,
    /// Where it answers, `http://host:port`; `https://host:port` where roles prove to each other who they are.
    pub url: String,
}

/// All services behind the gateway, and the certificate that they are shown.
pub(crate) struct Backends {
    pub(crate) list: Vec<Backend>,
    pub(crate) tls: Option<RoleTls>,
}

/// One method of a service behind the gateway.
pub(crate) struct Route {
    /// `/package.Service/Method`.
    pub(crate) path: PathAndQuery,
    pub(crate) upstream: Arc<Upstream>,
    /// How many calls the service is given at a time; streams are counted apart.
    pub(crate) admission: Admission,
    /// Its number among the service's methods.
    pub(crate) number: usize,
    /// Whether the answer is a stream, which may stay open for hours.
    pub(crate) streams: bool,
    /// Whether the request is a stream, of any number of messages.
    pub(crate) takes_stream: bool,
    /// Who may call it.
    pub(crate) access: Access,
    /// Whether its service is told the address that a call came from.
    pub(crate) wants_address: bool,
    /// What is known of it where its messages are made here.
    pub(crate) procedure: Procedure,
}

/// All methods, by path (`/package.Service/Method`) and by their paths over HTTP, and the services they belong to.
pub(crate) struct RouteTable {
    contract: Arc<Contract>,
    methods: HashMap<String, Arc<Route>>,
    rest: RestRoutes,
    services: Vec<(Backend, Arc<Upstream>)>,
}

impl RouteTable {
    /// The methods that the descriptor set gives each backend's service.
    pub(crate) fn new(
        descriptors: &[u8],
        backends: Backends,
        client: &RpcClientSettings,
        batch: &BatchSettings,
        admission: AdmissionSettings,
    ) -> anyhow::Result<Self> {
        let contract = Arc::new(Contract::new(descriptors)?);
        let mut table = Self { contract, methods: HashMap::new(), rest: RestRoutes::default(), services: Vec::new() };
        for backend in backends.list {
            let upstream = Upstream::to_role(backend.role, &backend.url, client, Some(batch), backends.tls.as_ref())
                .with_context(|| format!("services.{}", backend.role))
                .map(Arc::new)?;
            let admission = Admission::new(backend.role, admission);
            table.add(&backend, &upstream, &admission)?;
            table.services.push((backend, upstream));
        }
        Ok(table)
    }

    fn add(&mut self, backend: &Backend, upstream: &Arc<Upstream>, admission: &Admission) -> anyhow::Result<()> {
        let service = backend.service;
        let procedures = self.contract.procedures(service);
        let procedures = procedures.with_context(|| format!("the contract has no service {service}"))?;
        for (number, procedure) in procedures.into_iter().enumerate() {
            let path = format!("/{service}/{}", procedure.descriptor.name());
            let route = Arc::new(Route {
                path: path.parse().with_context(|| path.clone())?,
                upstream: Arc::clone(upstream),
                admission: admission.clone(),
                number,
                streams: procedure.streams(),
                takes_stream: procedure.takes_stream(),
                access: Access::of(&procedure.descriptor)?,
                wants_address: backend.role == USER_ROLE,
                procedure,
            });
            self.rest.add(&self.contract, &route)?;
            self.methods.insert(path, route);
        }
        Ok(())
    }

    /// The route of a path, if there is such a method.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.methods.get(path)
    }

    /// The methods by their paths over HTTP.
    pub(crate) fn rest(&self) -> &RestRoutes {
        &self.rest
    }

    pub(crate) fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// All paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(String::as_str)
    }

    /// Where the service is that knows who may sign in, if there is one.
    pub(crate) fn users(&self) -> Option<&Arc<Upstream>> {
        self.services.iter().find(|(backend, _)| backend.role == USER_ROLE).map(|(_, upstream)| upstream)
    }

    /// All services with their upstreams.
    pub(crate) fn services(&self) -> &[(Backend, Arc<Upstream>)] {
        &self.services
    }
}

/// The routes of all services of the contract.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn of_contract() -> RouteTable {
    use openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET;

    let pool = prost_reflect::DescriptorPool::decode(PUBLIC_FILE_DESCRIPTOR_SET).unwrap();
    let backends = pool.services().filter(|service| service.full_name().starts_with("openorder.")).map(|service| {
        let name: &'static str = service.full_name().to_owned().leak();
        Backend { role: name, service: name, url: "http://127.0.0.1:1".to_owned() }
    });
    let (client, batch) = (RpcClientSettings::default(), BatchSettings::default());
    let admission = crate::config::GatewaySettings::default().admission();
    let backends = Backends { list: backends.collect(), tls: None };
    RouteTable::new(PUBLIC_FILE_DESCRIPTOR_SET, backends, &client, &batch, admission).unwrap()
}
