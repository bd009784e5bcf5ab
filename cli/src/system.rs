//! Roles running in this process: started together, watched together, drained in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{FutureExt, join_all, select_all};
use openorder_config::ConfigErrors;
use openorder_messaging::RoleContext;
use openorder_rpc::tls::RoleTls;
use openorder_rpc::{ListenError, PageBytes, PageTokens};
use openorder_runtime::{Dependency, OnExit, Readiness, Shutdown, State, Stopped, Tasks, serve_admin};
use openorder_service::Serving;
use openorder_telemetry::api::KeyValue;
use openorder_telemetry::{RoleTelemetry, Telemetry};

use crate::check::{check, problem};
use crate::mtls;
use crate::port;
use crate::roles::Role;
use crate::settings::ProcessSettings;

/// Pause between two looks at a port that nobody listens on.
const PORT_PAUSE: Duration = Duration::from_millis(50);
/// How long the admin port may take to close after all roles ended.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// Why a system cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that cannot be used; nothing was bound.
    #[error(transparent)]
    Settings(#[from] ConfigErrors),
    /// The admin port is taken, or is not this machine's.
    #[error("admin.listen_address: {0}")]
    Admin(#[from] ListenError),
}

/// Running roles. Stop it with [`System::stop`]; one that is dropped asks its roles to stop and does not wait.
pub struct System {
    /// Asks the whole process to stop.
    process: Shutdown,
    /// The admin port outlives the roles: it tells how they end.
    admin: Tasks,
    admin_address: String,
    readiness: Readiness,
    roles: Vec<Running>,
    drain_timeout: Duration,
    head_start: Duration,
}

struct Running {
    role: Role,
    address: String,
    port: Dependency,
    /// Its own, so that the gateway can end before those behind it.
    shutdown: Shutdown,
    tasks: Tasks,
}

/// How a system ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What failed and made the process stop, with its role; none if it was asked to.
    pub failure: Option<String>,
    /// Tasks that did not end within `process.drain_timeout_ms` and were cut, as `role/task`.
    pub cut: Vec<String>,
}

impl Ending {
    /// Whether all work in hand came to its end, and nothing had failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failure.is_none() && self.cut.is_empty()
    }
}

impl System {
    /// Starts these roles without telemetry of their own: log lines go to the caller's subscriber, spans nowhere.
    /// Must be called within a tokio runtime.
    ///
    /// It returns at once; [`System::readiness`] tells when the roles can be used, in whatever order their
    /// dependencies come up.
    ///
    /// # Errors
    /// [`StartError`]: all that is wrong with the settings, or the admin port. A role's port that is taken ends the
    /// system: see [`System::stop_requested`].
    pub async fn start(settings: ProcessSettings, roles: &[Role]) -> Result<Self, StartError> {
        Box::pin(Self::start_with(settings, roles, None, None)).await
    }

    /// As [`System::start`], with the telemetry of the process, and with what `/config` of the admin port shows: a JSON
    /// document without secrets ([`config::document`](crate::config::document)).
    ///
    /// # Errors
    /// As [`System::start`].
    pub async fn start_with(
        settings: ProcessSettings,
        roles: &[Role],
        telemetry: Option<Arc<Telemetry>>,
        explained: Option<String>,
    ) -> Result<Self, StartError> {
        let problems = check(&settings, roles);
        if !problems.is_empty() {
            return Err(ConfigErrors(problems).into());
        }
        let listener = openorder_rpc::listen(&settings.admin.listen_address).await?;
        let process = Shutdown::new();
        let readiness = Readiness::new();
        measure(&readiness);
        let page_tokens = page_tokens(&settings);
        let shown = roles.iter().map(|role| certified(*role, &settings)).collect::<Result<Vec<_>, StartError>>()?;
        let start = |(role, tls): (&Role, Option<RoleTls>)| {
            start_role(*role, &settings, &readiness, telemetry.as_deref(), page_tokens.clone(), tls)
        };
        let roles: Vec<Running> = roles.iter().zip(shown).map(start).collect();

        let admin = Tasks::new(Shutdown::new(), RoleTelemetry::disabled("openorder"));
        let metrics = move || telemetry.as_ref().map(|telemetry| telemetry.prometheus_text()).unwrap_or_default();
        let serving = serve_admin(listener, readiness.clone(), metrics, explained, admin.shutdown().clone());
        admin.spawn("admin", OnExit::StopProcess, serving);
        Ok(Self {
            process,
            admin,
            admin_address: settings.admin.listen_address,
            readiness,
            roles,
            drain_timeout: Duration::from_millis(settings.process.drain_timeout_ms),
            head_start: Duration::from_millis(settings.process.gateway_head_start_ms),
        })
    }

    /// The roles and where each listens, in the order of the request.
    pub fn addresses(&self) -> impl Iterator<Item = (Role, &str)> {
        self.roles.iter().map(|running| (running.role, running.address.as_str()))
    }

    /// Where /livez, /readyz, /metrics and /config answer.
    #[must_use]
    pub fn admin_address(&self) -> &str {
        &self.admin_address
    }

    /// What the roles wait for; ready when every role's port is served and all its dependencies are there.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The switch that asks the whole process to stop, for signal handlers.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.process
    }

    /// Waits until somebody asked for a stop, or a task failed that a role cannot do without.
    pub async fn stop_requested(&self) {
        let roles = self.roles.iter().map(|running| &running.shutdown);
        let switches = roles.chain([&self.process, self.admin.shutdown()]);
        select_all(switches.map(|switch| Box::pin(switch.requested()))).await;
    }

    /// Ends the roles within `process.drain_timeout_ms`; what is left then is cut. The gateway begins, so that its calls
    /// in flight still find the services; those begin when it is done, or after `process.gateway_head_start_ms`, because
    /// a stream through it ends only when its service ends it.
    pub async fn stop(self) -> Ending {
        let until = Instant::now() + self.drain_timeout;
        self.process.trigger();
        for running in &self.roles {
            running.port.down("stopping");
        }
        let (edge, inner): (Vec<&Running>, Vec<&Running>) =
            self.roles.iter().partition(|running| running.role == Role::Gateway);
        let edge = join_all(edge.into_iter().map(|running| running.drain(until))).shared();
        let inner = async {
            drop(tokio::time::timeout(self.head_start, edge.clone()).await);
            join_all(inner.into_iter().map(|running| running.drain(until))).await
        };
        let (edge, inner) = tokio::join!(edge.clone(), inner);
        self.admin.drain(ADMIN_DRAIN).await;
        Ending { failure: self.failure(), cut: edge.into_iter().chain(inner).flatten().collect() }
    }

    fn failure(&self) -> Option<String> {
        let of_role = |running: &Running| running.shutdown.failure().map(|cause| format!("{}: {cause}", running.role));
        self.roles.iter().find_map(of_role).or_else(|| self.admin.shutdown().failure().map(str::to_owned))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for running in &self.roles {
            running.shutdown.trigger();
        }
        self.admin.shutdown().trigger();
        self.process.trigger();
    }
}

impl Running {
    async fn drain(&self, until: Instant) -> Vec<String> {
        let cut = self.tasks.drain(until.saturating_duration_since(Instant::now())).await;
        cut.into_iter().map(|task| format!("{}/{task}", self.role)).collect()
    }
}

/// `openorder.dependency.ready`: 1 while a dependency of a role is there, else 0.
fn measure(readiness: &Readiness) {
    let readiness = readiness.clone();
    openorder_telemetry::meter()
        .u64_observable_gauge("openorder.dependency.ready")
        .with_description("Whether what a role needs is there; need says whether calls or only background work need it")
        .with_callback(move |observer| {
            for one in readiness.snapshot() {
                let labels = [
                    KeyValue::new("service", one.role),
                    KeyValue::new("dependency", one.name),
                    KeyValue::new("need", one.need.to_string()),
                ];
                observer.observe(u64::from(one.state == State::Ready), &labels);
            }
        })
        .build();
}

fn page_tokens(settings: &ProcessSettings) -> PageTokens {
    let bytes = PageBytes { page_max: settings.process.page_bytes_max, batch_max: settings.process.batch_bytes_max };
    signed_page_tokens(settings).with_bytes(bytes)
}

fn signed_page_tokens(settings: &ProcessSettings) -> PageTokens {
    let secret = &settings.process.page_token_secret;
    if secret.is_empty() {
        tracing::warn!(
            "process.page_token_secret is empty: page tokens end with this process, and other processes refuse them"
        );
        return PageTokens::new(&[uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat());
    }
    PageTokens::new(secret.expose().as_bytes())
}

fn start_role(
    role: Role,
    settings: &ProcessSettings,
    readiness: &Readiness,
    telemetry: Option<&Telemetry>,
    page_tokens: PageTokens,
    tls: Option<RoleTls>,
) -> Running {
    let telemetry =
        telemetry.map_or_else(|| RoleTelemetry::disabled(role.name()), |telemetry| telemetry.role(role.name()));
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone(), telemetry.clone());
    let context =
        RoleContext { telemetry, readiness: readiness.clone(), shutdown: shutdown.clone(), tasks: tasks.clone() };
    // Registered before anything runs: the process is not ready while a role has not begun to say what it needs.
    let port = context.dependency("port");
    let address = settings.listen_address(role).to_owned();
    if let Some(tls) = tls.clone() {
        tasks.spawn("certificates", OnExit::StopProcess, keep_up(tls, shutdown.clone()));
    }
    tasks.spawn("serve", OnExit::StopProcess, serve(role.serve(context, settings, page_tokens, tls)));
    tasks.spawn("port", OnExit::Ignore, watch_port(address.clone(), port.clone(), shutdown.clone()));
    Running { role, address, port, shutdown, tasks }
}

/// What the role shows to others. The settings were checked: only what changed since then is found here.
fn certified(role: Role, settings: &ProcessSettings) -> Result<Option<RoleTls>, StartError> {
    mtls::of(role.name(), settings)
        .map_err(|error| ConfigErrors(vec![problem("mtls.certificate_file", error.to_string())]).into())
}

/// Shows others the certificate of now.
async fn keep_up(tls: RoleTls, shutdown: Shutdown) {
    shutdown.unless_requested(tls.keep_up()).await;
}

/// A role that was stopped while it waited for a dependency did what it was asked to.
async fn serve(serving: Serving) -> anyhow::Result<()> {
    match serving.await {
        Err(error) if error.is::<Stopped>() => Ok(()),
        ended => ended,
    }
}

async fn watch_port(address: String, dependency: Dependency, shutdown: Shutdown) {
    dependency.waiting("the role is starting");
    let served = async {
        while port::serves(&address).await.is_err() {
            tokio::time::sleep(PORT_PAUSE).await;
        }
    };
    if shutdown.unless_requested(served).await.is_some() {
        dependency.ready();
    }
}
