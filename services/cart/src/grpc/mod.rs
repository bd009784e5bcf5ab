//! `openorder.cart.v1.CartService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::Committer;
use openorder_proto::{
    cart::v1::{
        AddItemRequest, AddItemResponse, Cart as CartMessage, CheckoutRequest, CheckoutResponse, ClearCartRequest,
        ClearCartResponse, GetCartRequest, GetCartResponse, MergeCartRequest, MergeCartResponse, RemoveItemRequest,
        RemoveItemResponse, UpdateItemRequest, UpdateItemResponse,
        cart_service_server::{CartService, CartServiceServer},
    },
    order::v1::{CreateOrderRequest, order_service_client::OrderServiceClient},
};
use openorder_rpc::{CallContext, RequestFingerprint, UpstreamChannel, calls, passed_on, status::status};
use openorder_service::{Commands, request_key};
use openorder_types::{CallError, Caller, RequestId, Sku};
use prost::{Message, Name};
use tonic::{Status, service::Routes};
use uuid::Uuid;

use crate::{
    application::{Carts, Checkouts, Prices, Request, check_version},
    domain::{self, Cart, Change, Checkout, Command, Owner},
    grpc::parse::Changing,
    present,
};

/// The service's routes.
pub(crate) fn service(grpc: CartGrpc) -> Routes {
    Routes::new(CartServiceServer::new(grpc))
}

/// What the handlers work with.
pub(crate) struct CartGrpc {
    pub(crate) carts: Arc<Carts>,
    pub(crate) prices: Prices,
    pub(crate) orders: OrderServiceClient<UpstreamChannel>,
    pub(crate) committer: Committer<Checkouts>,
}

impl CartGrpc {
    async fn get(&self, call: CallContext, message: GetCartRequest) -> Result<GetCartResponse, CallError> {
        let owner = parse::get(&message)?;
        if !is_visible(&call.caller, &owner) {
            return Err(domain::not_yours().into());
        }
        let cart = self.carts.read(&owner, &call.trace).await?;
        Ok(GetCartResponse { cart: Some(self.show(&call, &owner, cart.as_ref()).await) })
    }

    async fn add(&self, call: CallContext, message: AddItemRequest) -> Result<AddItemResponse, CallError> {
        let changing = parse::add(&message)?;
        check_owner(&call.caller, &changing.owner)?;
        let skus: &[Sku] = match &changing.change {
            Change::Add { sku, .. } => std::slice::from_ref(sku),
            _ => &[],
        };
        let read = self.prices.read(skus, &call).await;
        // Looked at when it is carried out: what was done is answered, also of a product that is gone by now.
        let unknown = skus.iter().find(|sku| read.is_unknown(sku));
        let request = request("AddItem", &call, &changing.request_id, &message);
        let cart = self.carts.change(&request, &changing.owner, changing.expected_version, |_| match unknown {
            Some(sku) => Err(domain::unknown_sku(sku)),
            None => Ok(changing.change.clone()),
        });
        let cart = cart.await?;
        Ok(AddItemResponse { cart: Some(self.show(&call, &changing.owner, cart.as_ref()).await) })
    }

    async fn update(&self, call: CallContext, message: UpdateItemRequest) -> Result<UpdateItemResponse, CallError> {
        let changing = parse::update(&message)?;
        Ok(UpdateItemResponse { cart: Some(self.change("UpdateItem", &call, &message, &changing).await?) })
    }

    async fn remove(&self, call: CallContext, message: RemoveItemRequest) -> Result<RemoveItemResponse, CallError> {
        let changing = parse::remove(&message)?;
        Ok(RemoveItemResponse { cart: Some(self.change("RemoveItem", &call, &message, &changing).await?) })
    }

    async fn clear(&self, call: CallContext, message: ClearCartRequest) -> Result<ClearCartResponse, CallError> {
        let changing = parse::clear(&message)?;
        Ok(ClearCartResponse { cart: Some(self.change("ClearCart", &call, &message, &changing).await?) })
    }

    async fn merge(&self, call: CallContext, message: MergeCartRequest) -> Result<MergeCartResponse, CallError> {
        let (request_id, customer_id, visitor_id) = parse::merge(&message)?;
        let (customer, visitor) = (Owner::Customer(customer_id), Owner::Visitor(visitor_id));
        check_owner(&call.caller, &customer)?;
        let request = request("MergeCart", &call, &request_id, &message);
        let cart = self.carts.merge(&request, &customer, &visitor).await?;
        Ok(MergeCartResponse { cart: Some(self.show(&call, &customer, cart.as_ref()).await) })
    }

    /// One order, however often it is asked for: by the same request id, and of the same lines. It is asked for in the
    /// caller's name.
    async fn checkout(&self, call: CallContext, message: CheckoutRequest) -> Result<CheckoutResponse, Status> {
        let fixed = self.fix(&call, &message).await.map_err(status)?;
        let request = call.retry_safe_request(parse::order(message, fixed));
        let answer = self.orders.clone().create_order(request).await.map_err(|refused| passed_on(&refused))?;
        Ok(CheckoutResponse { order: answer.into_inner().order })
    }

    /// What the request orders: as it was fixed when it was made first, which is now if it was not made before.
    async fn fix(&self, call: &CallContext, message: &CheckoutRequest) -> Result<CreateOrderRequest, CallError> {
        let (request_id, customer_id, expected_version) = parse::checkout(message)?;
        let owner = Owner::Customer(customer_id.clone());
        check_owner(&call.caller, &owner)?;
        let fingerprint = RequestFingerprint::of("Checkout", &parse::bound(message));
        let key = request_key(call, fingerprint, request_id.into_string());
        // Also while Redis is away, and when the cart is gone.
        if let Some(fixed) = self.committer.recall_call(&key).await? {
            return Ok(fixed);
        }
        let cart = self.carts.read(&owner, &call.trace).await?;
        check_version(cart.as_ref(), expected_version)?;
        let cart = cart.filter(|cart| !cart.lines.is_empty()).ok_or_else(domain::empty)?;
        let command = Command::Begin {
            lines: cart.lines.iter().map(|line| (line.sku.clone(), line.quantity())).collect(),
            checkout: Checkout {
                checkout_id: Uuid::now_v7(),
                cart_id: cart.cart_id,
                cart_version: cart.version,
                customer_id,
            },
        };
        self.committer.call_under(call, key, command).await
    }

    async fn change<M: Message + Name>(
        &self,
        method: &'static str,
        call: &CallContext,
        message: &M,
        changing: &Changing,
    ) -> Result<CartMessage, CallError> {
        check_owner(&call.caller, &changing.owner)?;
        let request = request(method, call, &changing.request_id, message);
        let decide = |_: &domain::Context| Ok(changing.change.clone());
        let cart = self.carts.change(&request, &changing.owner, changing.expected_version, decide).await?;
        Ok(self.show(call, &changing.owner, cart.as_ref()).await)
    }

    /// A cart with the prices of now.
    async fn show(&self, call: &CallContext, owner: &Owner, cart: Option<&Cart>) -> CartMessage {
        let lines = cart.map(|cart| cart.lines.as_slice()).unwrap_or_default();
        let skus: Vec<Sku> = lines.iter().map(|line| line.sku.clone()).collect();
        let products = self.prices.read(&skus, call).await;
        present::cart(owner, cart, &products, self.carts.expires(owner))
    }
}

fn is_visible(caller: &Caller, owner: &Owner) -> bool {
    match owner {
        Owner::Customer(customer_id) => caller.may_see(customer_id),
        Owner::Visitor(_) => true,
    }
}

/// A customer's cart is the customer's; a visitor's is open to whoever knows its id.
fn check_owner(caller: &Caller, owner: &Owner) -> Result<(), CallError> {
    match owner {
        Owner::Customer(customer_id) if !caller.may_act_for(customer_id) => Err(domain::not_yours().into()),
        Owner::Customer(_) | Owner::Visitor(_) => Ok(()),
    }
}

fn request<M: Message + Name>(
    method: &'static str,
    call: &CallContext,
    request_id: &RequestId,
    message: &M,
) -> Request {
    Request {
        caller: call.caller.subject.clone(),
        request_id: request_id.as_str().to_owned(),
        fingerprint: RequestFingerprint::of(method, message).meaning,
        trace: call.trace.clone(),
    }
}

calls! {
    impl CartService for CartGrpc {
        get_cart(GetCartRequest) -> GetCartResponse = get, anyone;
        add_item(AddItemRequest) -> AddItemResponse = add, anyone;
        update_item(UpdateItemRequest) -> UpdateItemResponse = update, anyone;
        remove_item(RemoveItemRequest) -> RemoveItemResponse = remove, anyone;
        clear_cart(ClearCartRequest) -> ClearCartResponse = clear, anyone;
        merge_cart(MergeCartRequest) -> MergeCartResponse = merge, anyone;
        checkout(CheckoutRequest) -> CheckoutResponse = checkout, anyone;
    }
}
