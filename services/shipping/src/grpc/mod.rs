//! `openorder.shipping.v1.ShippingService`: parse, call, answer.

mod parse;

use std::{collections::HashMap, sync::Arc};

use openorder_messaging::{Backbone, Committer, SharedReads};
use openorder_proto::shipping::v1::{
    AddShipmentEventRequest, AddShipmentEventResponse, CancelShipmentRequest, CancelShipmentResponse,
    GetShipmentRequest, GetShipmentResponse, ListShipmentsRequest, ListShipmentsResponse, Shipment as ShipmentMessage,
    ShipmentState, UpdateShipmentRequest, UpdateShipmentResponse,
    shipping_service_server::{ShippingService, ShippingServiceServer},
};
use openorder_rpc::{CallContext, PageTokens, RequestFingerprint, calls, query_failed};
use openorder_service::Commands;
use openorder_types::{CallError, Fault, UserId};
use sqlx::PgPool;
use tonic::service::Routes;
use uuid::Uuid;

use crate::{
    application::Shipments,
    domain::{CarrierEvent, Shipment, ShipmentKey, already_shipped, not_found},
    persistence, present,
};

/// Name of the list in page tokens.
const SHIPMENTS: &str = "shipping.shipments";

/// A shipment and what its carrier said, in the order in which it happened.
type WithEvents = (Shipment, Vec<CarrierEvent>);

pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Shipments>, page_tokens: PageTokens) -> Routes {
    let shipments = backbone.shared_reads(find);
    Routes::new(ShippingServiceServer::new(ShippingGrpc { backbone, shipments, committer, page_tokens }))
}

/// A shipment has both keys.
async fn find(pool: PgPool, keys: Vec<ShipmentKey>) -> Result<Vec<(ShipmentKey, WithEvents)>, Fault> {
    let found = persistence::find_shipments(&pool, &keys.into_iter().collect()).await?;
    let orders: Vec<Uuid> = found.iter().map(|shipment| shipment.order_id).collect();
    let mut events: HashMap<Uuid, Vec<CarrierEvent>> = HashMap::new();
    for (order_id, event) in persistence::find_events(&pool, &orders).await? {
        events.entry(order_id).or_default().push(event);
    }
    let by_key = found.into_iter().flat_map(|shipment| {
        let mut events = events.remove(&shipment.order_id).unwrap_or_default();
        // What was recorded since the shipment was read is not of this version.
        events.retain(|event| event.ordinal <= shipment.event_count);
        let keys = [ShipmentKey::Order(shipment.order_id), ShipmentKey::Shipment(shipment.shipment_id)];
        keys.map(|key| (key, (shipment.clone(), events.clone())))
    });
    Ok(by_key.collect())
}

struct ShippingGrpc {
    backbone: Arc<Backbone>,
    shipments: SharedReads<ShipmentKey, WithEvents>,
    committer: Committer<Shipments>,
    page_tokens: PageTokens,
}

impl ShippingGrpc {
    async fn shipment(&self, call: CallContext, message: GetShipmentRequest) -> Result<GetShipmentResponse, CallError> {
        let key = parse::get(&message)?;
        let found = self.shipments.get(key).await.map_err(query_failed)?;
        let visible = found.filter(|(shipment, _)| call.caller.may_see(&shipment.customer_id));
        let (shipment, events) = visible.ok_or_else(|| not_found(&key))?;
        Ok(GetShipmentResponse {
            shipment: Some(present::shipment_for(&call.caller, &shipment)),
            events: events.iter().map(present::carrier_event).collect(),
        })
    }

    async fn shipments(
        &self,
        call: CallContext,
        message: ListShipmentsRequest,
    ) -> Result<ListShipmentsResponse, CallError> {
        let list = self.page_tokens.open(SHIPMENTS, &call, &message)?;
        let (mut filter, size) = parse::list(&message, list.cursor())?;
        if !call.caller.reads_all() {
            // Nobody but a customer is left, and who is no user has ordered nothing.
            let own = filter.customer_id.or_else(|| UserId::parse(&call.caller.subject).ok());
            let Some(customer_id) = own.filter(|customer_id| call.caller.may_act_for(customer_id)) else {
                return Ok(ListShipmentsResponse::default());
            };
            filter.customer_id = Some(customer_id);
        }
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        // One more shows whether there is another page.
        let found =
            persistence::list_shipments(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let show = |shipment: &Shipment| present::shipment_for(&call.caller, shipment);
        let (shipments, next_page_token) = list.page(size, &found, show, |last| last.shipment_id.into_bytes());
        Ok(ListShipmentsResponse { shipments, next_page_token })
    }

    async fn update(
        &self,
        call: CallContext,
        message: UpdateShipmentRequest,
    ) -> Result<UpdateShipmentResponse, CallError> {
        let (request_id, command) = parse::update(&message)?;
        let fingerprint = RequestFingerprint::of("UpdateShipment", &message);
        let shipment = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(UpdateShipmentResponse { shipment: Some(shipment) })
    }

    /// The answer is a parcel that never leaves, or that it has left.
    async fn cancel(
        &self,
        call: CallContext,
        message: CancelShipmentRequest,
    ) -> Result<CancelShipmentResponse, CallError> {
        let (request_id, command) = parse::cancel(&message, Uuid::now_v7())?;
        // The words may be others when it is asked again: the parcel was called off for those of before.
        let fingerprint =
            RequestFingerprint::of("CancelShipment", &CancelShipmentRequest { detail: String::new(), ..message });
        let shipment: ShipmentMessage =
            self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        if shipment.state() != ShipmentState::Cancelled {
            return Err(already_shipped(&shipment.shipment_id, &shipment.order_id).into());
        }
        Ok(CancelShipmentResponse { shipment: Some(shipment) })
    }

    async fn add_event(
        &self,
        call: CallContext,
        message: AddShipmentEventRequest,
    ) -> Result<AddShipmentEventResponse, CallError> {
        let (request_id, command) = parse::add_event(&message, Uuid::now_v7())?;
        let fingerprint = RequestFingerprint::of("AddShipmentEvent", &message);
        self.committer.call(&call, fingerprint, request_id.into_string(), command).await
    }
}

calls! {
    impl ShippingService for ShippingGrpc {
        get_shipment(GetShipmentRequest) -> GetShipmentResponse = shipment, anyone;
        list_shipments(ListShipmentsRequest) -> ListShipmentsResponse = shipments, anyone;
        update_shipment(UpdateShipmentRequest) -> UpdateShipmentResponse = update, staff;
        cancel_shipment(CancelShipmentRequest) -> CancelShipmentResponse = cancel, staff;
        add_shipment_event(AddShipmentEventRequest) -> AddShipmentEventResponse = add_event, staff;
    }
}
