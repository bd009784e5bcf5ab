//! A worker for each channel that leaves the machine: a provider that is away holds up no other channel.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use openorder_messaging::{Backbone, Committer, RoleContext};
use openorder_runtime::OnExit;

use crate::{
    application::Notifications,
    config::{EmailTransport, HttpProviderSettings, HttpTransport, NotificationSettings},
    delivery::{http::HttpProvider, provider::Provider, smtp::Mailer, worker::Worker},
    domain::Channel,
};

/// The providers of the channels that leave the machine, checked before anything is started.
pub(crate) struct Workers {
    email: Option<Mailer>,
    sms: Option<HttpProvider>,
    push: Option<HttpProvider>,
}

impl Workers {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub(crate) fn new(settings: &NotificationSettings) -> anyhow::Result<Self> {
        let email = match settings.email_transport {
            EmailTransport::Record => None,
            EmailTransport::Smtp => Some(Mailer::new(&settings.smtp)?),
        };
        let sms = http(settings.sms_transport, Channel::Sms, "notification.sms", &settings.sms)?;
        let push = http(settings.push_transport, Channel::Push, "notification.push", &settings.push)?;
        let timeouts = [
            email.as_ref().map(Provider::timeout),
            sms.as_ref().map(Provider::timeout),
            push.as_ref().map(Provider::timeout),
        ];
        let longest = timeouts.into_iter().flatten().max().unwrap_or_default();
        ensure!(
            longest < Duration::from_millis(settings.delivery.lease_ms),
            "notification.delivery.lease_ms must be longer than handing a message over may take, {} ms",
            longest.as_millis()
        );
        ensure!(
            settings.delivery.lease_ms < settings.delivery.sent_memory_ms,
            "notification.delivery.sent_memory_ms must be longer than notification.delivery.lease_ms"
        );
        Ok(Self { email, sms, push })
    }

    /// Starts them.
    pub(crate) fn start(
        self,
        role: &RoleContext,
        backbone: &Arc<Backbone>,
        committer: &Committer<Notifications>,
        settings: &NotificationSettings,
    ) {
        start("deliveries-email", self.email, role, backbone, committer, settings);
        start("deliveries-sms", self.sms, role, backbone, committer, settings);
        start("deliveries-push", self.push, role, backbone, committer, settings);
    }
}

fn http(
    transport: HttpTransport,
    channel: Channel,
    section: &str,
    settings: &HttpProviderSettings,
) -> anyhow::Result<Option<HttpProvider>> {
    match transport {
        HttpTransport::Record => Ok(None),
        HttpTransport::Http => HttpProvider::new(channel, section, settings).map(Some),
    }
}

fn start<P: Provider>(
    name: &'static str,
    provider: Option<P>,
    role: &RoleContext,
    backbone: &Arc<Backbone>,
    committer: &Committer<Notifications>,
    settings: &NotificationSettings,
) {
    if let Some(provider) = provider {
        let work = Worker::run(role.clone(), Arc::clone(backbone), committer.clone(), provider, settings.clone());
        role.tasks.spawn(name, OnExit::StopProcess, work);
    }
}
