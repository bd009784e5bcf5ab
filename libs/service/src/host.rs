//! A service as a process runs it: its port, its database, its runners, its end.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use anyhow::Context;
use openorder_messaging::{Application, Backbone, Committer, KafkaSettings, RoleContext, Subscription};
use openorder_pipeline::Pipeline;
use openorder_rpc::tls::RoleTls;
use openorder_rpc::{PageTokens, RpcClientSettings, UpstreamChannel};
use openorder_runtime::OnExit;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::{ConsumingSettings, HostSettings, ServiceSettings};

/// A role as it runs, until shutdown.
///
/// Boxed where it is written: async code is compiled where its type is needed, so each program and each test that runs a
/// role would compile all of it again.
pub type Serving = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// What a service is, besides its settings: the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its role: on the command line, as the section of its settings, as its consumer group, in traces and logs.
    pub role: &'static str,
    /// Full names of the gRPC services whose health the role reports.
    pub grpc_services: &'static [&'static str],
    /// Topics that it publishes to.
    pub publishes: &'static [&'static str],
}

/// Where each service answers, by its role: `http://host:port`, or with TLS between the roles `https://host:port`.
#[derive(Clone, Debug, Default)]
pub struct ServiceUrls(Arc<BTreeMap<&'static str, String>>);

impl ServiceUrls {
    /// The URL of a service's role.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn of(&self, role: &str) -> anyhow::Result<&str> {
        self.0.get(role).map(String::as_str).with_context(|| format!("no service {role} is known"))
    }
}

impl FromIterator<(&'static str, String)> for ServiceUrls {
    fn from_iter<I: IntoIterator<Item = (&'static str, String)>>(urls: I) -> Self {
        Self(Arc::new(urls.into_iter().collect()))
    }
}

/// What a service is given to run with.
pub struct Host<S> {
    /// Name, tracer, readiness and tasks of the role.
    pub role: RoleContext,
    /// Its settings.
    pub settings: S,
    /// Kafka, shared by all roles.
    pub kafka: KafkaSettings,
    /// The tokens of its lists.
    pub page_tokens: PageTokens,
    /// Where the other services answer.
    pub urls: ServiceUrls,
    /// The certificate of the role, where roles prove to each other who they are.
    pub tls: Option<RoleTls>,
}

impl<S: HostSettings> Host<S> {
    /// Puts together what a service is given that calls no other.
    pub fn new(role: RoleContext, settings: S, kafka: KafkaSettings, page_tokens: PageTokens) -> Self {
        Self { role, settings, kafka, page_tokens, urls: ServiceUrls::default(), tls: None }
    }

    /// With the services that it may call.
    #[must_use]
    pub fn with_urls(self, urls: ServiceUrls) -> Self {
        Self { urls, ..self }
    }

    /// With the certificate of the role; without one it listens on loopback alone, and calls others in the clear.
    #[must_use]
    pub fn with_tls(self, tls: Option<RoleTls>) -> Self {
        Self { tls, ..self }
    }

    /// A channel to another service, by its role.
    ///
    /// # Errors
    /// When there is no such service, or its URL cannot be used.
    pub fn channel(&self, service: &str, client: &RpcClientSettings) -> anyhow::Result<UpstreamChannel> {
        let (url, tls) = (self.urls.of(service)?, self.tls.as_ref());
        let channel = openorder_rpc::channel_to_role(&self.role.telemetry, service, url, client, tls);
        channel.with_context(|| format!("services.{service}"))
    }

    /// Binds the port, waits for the database and brings its schema up to date. The port answers when the service is
    /// [served](Service::serve).
    ///
    /// # Errors
    /// When the port cannot be bound, or other machines reach it without TLS, or the process has to end before the database
    /// answered.
    pub async fn start(self, spec: &'static ServiceSpec, migrations: &Migrator) -> anyhow::Result<Service<S>> {
        let Self { role, settings, kafka, page_tokens, urls: _, tls } = self;
        let listener = openorder_rpc::listen_for_roles(settings.listen_address(), tls.as_ref()).await;
        let listener = listener.with_context(|| format!("{}.listen_address", spec.role))?;
        let starting = Backbone::start(&role, settings.database_url(), settings.database(), &kafka, migrations);
        // Boxed: the future of opening a database is large, and needed once.
        let backbone = Box::pin(starting).await?;
        Ok(Service { spec, role, settings, page_tokens, listener, tls, backbone })
    }
}

/// A service whose database is there.
pub struct Service<S> {
    spec: &'static ServiceSpec,
    role: RoleContext,
    settings: S,
    page_tokens: PageTokens,
    listener: TcpListener,
    tls: Option<RoleTls>,
    backbone: Arc<Backbone>,
}

impl<S: HostSettings> Service<S> {
    /// Name, tracer, readiness and tasks of the role.
    pub fn role(&self) -> &RoleContext {
        &self.role
    }

    /// Its settings.
    pub fn settings(&self) -> &S {
        &self.settings
    }

    /// Its database and log.
    pub fn backbone(&self) -> &Arc<Backbone> {
        &self.backbone
    }

    /// The tokens of its lists.
    pub fn page_tokens(&self) -> PageTokens {
        self.page_tokens.clone()
    }

    /// Runs work in the background, without which the process has to end.
    pub fn task(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.role.tasks.spawn(name, OnExit::StopProcess, work);
    }

    /// Answers calls of these routes, and of health, until shutdown.
    pub async fn serve_alone(self, routes: Routes) {
        let Self { spec, role, settings, listener, tls, .. } = self;
        let routes = openorder_rpc::with_health(routes, role.telemetry.role(), spec.grpc_services, &role.readiness);
        let telemetry = role.telemetry.clone();
        openorder_rpc::serve_roles(telemetry, listener, tls, settings.server(), routes, &role.shutdown).await;
    }
}

impl<S: ServiceSettings> Service<S> {
    /// Starts the committer and the relay of a service that follows nobody's events.
    pub fn run<A: Application>(&self, application: Arc<A>) -> Committer<A> {
        let committer = self.backbone.committer(application, self.settings.committer());
        self.backbone.relay(self.settings.relay(), self.spec.publishes);
        committer
    }

    /// Starts the committer, the consumer with its retries and replays, and the relay.
    pub fn run_with<A: Application>(&self, application: Arc<A>, subscription: Subscription<A::Command>) -> Committer<A>
    where
        S: ConsumingSettings,
    {
        let committer = self.backbone.committer(Arc::clone(&application), self.settings.committer());
        self.backbone.consumer(application, subscription, self.settings.consumer());
        self.backbone.relay(self.settings.relay(), self.spec.publishes);
        committer
    }

    /// Answers calls of these routes, of operators and of health, until shutdown.
    pub async fn serve(self, routes: Routes) {
        let pipeline = Pipeline::new(&self.backbone);
        self.serve_with(pipeline, routes).await;
    }

    /// As [`Self::serve`], with a pipeline that counts more.
    pub async fn serve_with(self, pipeline: Pipeline, routes: Routes) {
        let routes = pipeline.mount(routes, &self.role);
        self.serve_alone(routes).await;
    }
}
