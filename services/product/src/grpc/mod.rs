//! `openorder.product.v1.ProductService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer, RequestKey};
use openorder_proto::product::v1::{
    BatchGetProductsRequest, BatchGetProductsResponse, CreateProductRequest, CreateProductResponse,
    DeleteProductRequest, DeleteProductResponse, GetProductRequest, GetProductResponse, ListProductsRequest,
    ListProductsResponse, Product as ProductMessage, UpdateProductRequest, UpdateProductResponse,
    product_service_server::{ProductService, ProductServiceServer},
};
use openorder_rpc::{CallContext, ListOf, PageTokens, RequestFingerprint, query_failed, rejection, status};
use openorder_types::{CallError, RequestId};
use prost::Message;
use tonic::{Request, Response, Status, service::Routes};
use uuid::Uuid;

use crate::{
    application::{Catalogue, ProductReply},
    domain::{Command, ProductKey, not_found},
    persistence::{self, Page},
    present,
};

/// Name of the list in page tokens.
const PRODUCTS: &str = "product.products";

/// The service's routes.
pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Catalogue>, page_tokens: PageTokens) -> Routes {
    Routes::new(ProductServiceServer::new(ProductGrpc { backbone, committer, page_tokens }))
}

struct ProductGrpc {
    backbone: Arc<Backbone>,
    committer: Committer<Catalogue>,
    page_tokens: PageTokens,
}

impl ProductGrpc {
    async fn submit<M: Message + PartialEq>(
        &self,
        call: CallContext,
        method: &'static str,
        (message, canonical): (&M, M),
        (request_id, command): (RequestId, Command),
    ) -> Result<ProductMessage, CallError> {
        let RequestFingerprint { meaning, as_sent } =
            RequestFingerprint::of_canonical(method, message, Some(&canonical));
        let key = RequestKey {
            caller: call.caller.subject,
            request_id: request_id.into_string(),
            method,
            fingerprint: meaning,
            fingerprint_as_sent: as_sent,
        };
        let ProductReply(product) = self.committer.submit(Some(key), command, call.trace, call.deadline).await?;
        Ok(product)
    }

    async fn create(&self, call: CallContext, message: CreateProductRequest) -> Result<ProductMessage, CallError> {
        call.caller.must_be_staff()?;
        let parsed = parse::create(&message, Uuid::now_v7())?;
        self.submit(call, "CreateProduct", (&message, message.clone()), parsed).await
    }

    async fn update(&self, call: CallContext, message: UpdateProductRequest) -> Result<ProductMessage, CallError> {
        call.caller.must_be_staff()?;
        let parsed = parse::update(&message)?;
        self.submit(call, "UpdateProduct", (&message, parse::canonical_update(&message)), parsed).await
    }

    async fn delete(&self, call: CallContext, message: DeleteProductRequest) -> Result<ProductMessage, CallError> {
        call.caller.must_be_staff()?;
        let parsed = parse::delete(&message)?;
        self.submit(call, "DeleteProduct", (&message, parse::canonical_delete(&message)), parsed).await
    }

    async fn product(&self, message: GetProductRequest) -> Result<GetProductResponse, CallError> {
        let key = parse::get(&message)?;
        let pool = self.backbone.pool();
        let found = match &key {
            ProductKey::Id(product_id) => persistence::find_by_id(pool, *product_id).await.map_err(query_failed)?,
            ProductKey::Sku(sku) => {
                let found = persistence::find_by_skus(pool, &[sku.as_str()]).await.map_err(query_failed)?;
                found.into_iter().next()
            }
        };
        let product = found.ok_or_else(|| not_found(&key))?;
        Ok(GetProductResponse { product: Some(present::product(&product)) })
    }

    async fn products(&self, message: BatchGetProductsRequest) -> Result<BatchGetProductsResponse, CallError> {
        let skus = parse::skus(&message.skus)?;
        let names: Vec<&str> = skus.iter().map(AsRef::as_ref).collect();
        let found = persistence::find_by_skus(self.backbone.pool(), &names).await.map_err(query_failed)?;
        Ok(BatchGetProductsResponse { products: self.page_tokens.batch(&found, present::product)? })
    }

    async fn list(&self, call: CallContext, message: ListProductsRequest) -> Result<ListProductsResponse, CallError> {
        if message.show_deleted {
            call.caller.must_be_staff()?;
        }
        let size = parse::list(&message)?;
        let conditions = [u8::from(message.show_deleted)];
        let cursor = self.page_tokens.decode(PRODUCTS, &call.caller, &conditions, &message.page_token)?;
        let page = Page {
            after: cursor.and_then(|bytes| Uuid::from_slice(&bytes).ok()),
            show_deleted: message.show_deleted,
            // One more tells whether there is another page.
            limit: i64::from(size) + 1,
        };
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list(&mut *read, page).await.map_err(query_failed)?;
        let of = ListOf { list: PRODUCTS, caller: &call.caller, filter_fingerprint: &conditions, size };
        let page = self.page_tokens.page(&of, &found, present::product, |last| last.product_id.into_bytes());
        Ok(ListProductsResponse { products: page.items, next_page_token: page.next_page_token })
    }
}

#[tonic::async_trait]
impl ProductService for ProductGrpc {
    async fn create_product(
        &self,
        request: Request<CreateProductRequest>,
    ) -> Result<Response<CreateProductResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        let product = self.create(call, request.into_inner()).await.map_err(status)?;
        Ok(Response::new(CreateProductResponse { product: Some(product) }))
    }

    async fn get_product(&self, request: Request<GetProductRequest>) -> Result<Response<GetProductResponse>, Status> {
        CallContext::of(&request).map_err(rejection)?;
        self.product(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn batch_get_products(
        &self,
        request: Request<BatchGetProductsRequest>,
    ) -> Result<Response<BatchGetProductsResponse>, Status> {
        CallContext::of(&request).map_err(rejection)?;
        self.products(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        self.list(call, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn update_product(
        &self,
        request: Request<UpdateProductRequest>,
    ) -> Result<Response<UpdateProductResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        let product = self.update(call, request.into_inner()).await.map_err(status)?;
        Ok(Response::new(UpdateProductResponse { product: Some(product) }))
    }

    async fn delete_product(
        &self,
        request: Request<DeleteProductRequest>,
    ) -> Result<Response<DeleteProductResponse>, Status> {
        let call = CallContext::of(&request).map_err(rejection)?;
        let product = self.delete(call, request.into_inner()).await.map_err(status)?;
        Ok(Response::new(DeleteProductResponse { product: Some(product) }))
    }
}
