//! WatchOrder: the order at once, and again after each change.

use std::{sync::Arc, time::Duration};

use openorder_messaging::{Backbone, Changes, SharedReads};
use openorder_proto::order::v1::{WatchOrderRequest, WatchOrderResponse};
use openorder_rpc::{CallContext, query_failed, status};
use openorder_types::{AggregateId, CallError, Caller};
use tokio::sync::{
    OwnedSemaphorePermit, broadcast,
    mpsc::{self, error::SendError},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use crate::{
    domain::OrderStatus,
    grpc::{OrderGrpc, WatchStream, parse},
    persistence::Record,
    present,
};

/// Answers that may wait for a slow caller; changes in between are sent as one.
const WAITING_MAX: usize = 4;

type Sender = mpsc::Sender<Result<WatchOrderResponse, Status>>;

impl OrderGrpc {
    pub(super) async fn watch(&self, call: CallContext, message: WatchOrderRequest) -> Result<WatchStream, CallError> {
        let (order_id, until) = parse::watch(&message)?;
        // Before the first look, so that no change falls between.
        let changes = self.backbone.changes();
        let record = self.visible(&call.caller, order_id).await?;
        let permit = Arc::clone(&self.watchers).try_acquire_owned();
        let permit = permit.map_err(|_| CallError::Overloaded { retry_after: CallError::OUTAGE_RETRY_AFTER })?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let poll = Duration::from_millis(self.settings.watch_poll_interval_ms);
        let orders = self.orders.clone();
        let (backbone, caller) = (Arc::clone(&self.backbone), call.caller);
        let watch = Watch { backbone, orders, caller, order_id, until, sender, poll, _permit: permit };
        // Ends with its order, the status that is waited for, its caller or the process.
        tokio::spawn(watch.run(record, changes));
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

struct Watch {
    backbone: Arc<Backbone>,
    orders: SharedReads<Uuid, Record>,
    caller: Caller,
    order_id: Uuid,
    /// The status that the caller waits for; none for a final one.
    until: Option<OrderStatus>,
    sender: Sender,
    poll: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    async fn run(self, first: Record, mut changes: broadcast::Receiver<Changes>) {
        let shutdown = self.backbone.shutdown().clone();
        let mut version = first.order.version;
        let mut settled = self.is_reached(first.order.status);
        if self.send(Ok(self.answer(&first))).await.is_err() {
            return;
        }
        while !settled {
            tokio::select! {
                () = self.changed(&mut changes) => {}
                // Another instance's changes are not heard here.
                () = tokio::time::sleep(self.poll) => {}
                () = self.sender.closed() => return,
                () = shutdown.requested() => return,
            }
            let record = match self.orders.get(self.order_id).await {
                Ok(Some(record)) => record,
                Ok(None) => return,
                Err(fault) => {
                    // The caller may watch again; what it then sees is current.
                    drop(self.send(Err(status(query_failed(fault)))).await);
                    return;
                }
            };
            if record.order.version > version {
                version = record.order.version;
                settled = self.is_reached(record.order.status);
                if self.send(Ok(self.answer(&record))).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Whether the caller has seen what it waits for. Statuses are numbered in the order in which they are passed
    /// through, so that one that was passed over between two looks counts as reached.
    fn is_reached(&self, status: OrderStatus) -> bool {
        status.is_final() || self.until.is_some_and(|until| status >= until)
    }

    fn answer(&self, record: &Record) -> WatchOrderResponse {
        WatchOrderResponse { order: Some(present::order_for(&self.caller, record)) }
    }

    async fn send(
        &self,
        item: Result<WatchOrderResponse, Status>,
    ) -> Result<(), SendError<Result<WatchOrderResponse, Status>>> {
        self.sender.send(item).await
    }

    /// Waits for a change of this order in this process, or for having missed some.
    async fn changed(&self, changes: &mut broadcast::Receiver<Changes>) {
        let order_id = AggregateId::from(self.order_id);
        loop {
            match changes.recv().await {
                Ok(changed) if changed.iter().any(|(_, id)| *id == order_id) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The sender lives as long as the backbone.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
