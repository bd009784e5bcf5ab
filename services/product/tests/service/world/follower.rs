//! Another service that follows the catalogue: what it got is what the product service published.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use openorder_messaging::{
    Application, Backbone, ConsumerSettings, Envelope, Interest, Outcomes, Received, Subscription, UnitOfWork,
};
use openorder_proto::topics;
use openorder_testing::{World, eventually};
use openorder_types::Fault;
use sqlx::migrate::Migrator;

/// What came so far, in its order of coming.
#[derive(Clone, Default)]
pub(crate) struct Follower(Arc<Mutex<Vec<Received>>>);

impl Follower {
    /// Follows `product.catalog.v1` from its beginning.
    pub(crate) async fn start(world: &World) -> Self {
        let follower = Self::default();
        let role = world.role("follower");
        let no_migrations = Migrator::with_migrations(Vec::new());
        let url = world.database_url("follower");
        let (database, kafka) = (world.database(), world.kafka());
        let started = Box::pin(Backbone::start(&role, &url, &database, &kafka, &no_migrations));
        let subscription = Subscription {
            topics: vec![topics::PRODUCT_CATALOG],
            decode: |message| Ok(Some(message.clone())),
            interest: |_, _| Interest::Unknown,
            injects: |_| false,
        };
        started.await.unwrap().consumer(Arc::new(follower.clone()), subscription, &ConsumerSettings::default());
        follower
    }

    /// The events of one product, once there are `count` of them.
    pub(crate) async fn events_of(&self, product_id: &str, count: usize) -> Vec<Received> {
        let what = format!("{count} events of {product_id}");
        eventually(&what, Duration::from_secs(30), || async {
            let seen = self.0.lock().unwrap();
            let of_product = seen.iter().filter(|event| event.key == product_id.as_bytes());
            let events: Vec<Received> = of_product.cloned().collect();
            (events.len() >= count).then_some(events)
        })
        .await
    }
}

impl Application for Follower {
    type Command = Received;
    type Reply = ();

    async fn execute(&self, _: &mut UnitOfWork, batch: &[Envelope<'_, Received>]) -> Result<Outcomes<()>, Fault> {
        self.0.lock().unwrap().extend(batch.iter().map(|envelope| envelope.command.clone()));
        Ok(batch.iter().map(|_| Ok(())).collect())
    }
}
