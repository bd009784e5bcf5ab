//! `openorder.product.v1.ProductService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer, SharedReads};
use openorder_proto::product::v1::{
    BatchGetProductsRequest, BatchGetProductsResponse, CreateProductRequest, CreateProductResponse,
    DeleteProductRequest, DeleteProductResponse, GetProductRequest, GetProductResponse, ListProductsRequest,
    ListProductsResponse, UpdateProductRequest, UpdateProductResponse,
    product_service_server::{ProductService, ProductServiceServer},
};
use openorder_rpc::{CallContext, PageTokens, RequestFingerprint, calls, query_failed};
use openorder_service::Commands;
use openorder_types::{CallError, Fault};
use sqlx::PgPool;
use tonic::service::Routes;
use uuid::Uuid;

use crate::{
    application::Catalogue,
    domain::{Product, ProductKey, not_found},
    persistence::{self, Page},
    present,
};

/// Name of the list in page tokens.
const PRODUCTS: &str = "product.products";

pub(crate) fn service(backbone: Arc<Backbone>, committer: Committer<Catalogue>, page_tokens: PageTokens) -> Routes {
    let products = backbone.shared_reads(find);
    Routes::new(ProductServiceServer::new(ProductGrpc { backbone, products, committer, page_tokens }))
}

/// A product that is not deleted has both keys.
async fn find(pool: PgPool, keys: Vec<ProductKey>) -> Result<Vec<(ProductKey, Product)>, Fault> {
    let ids =
        keys.iter().filter_map(|key| if let ProductKey::Id(id) = key { Some(*id) } else { None }).collect::<Vec<_>>();
    let skus = keys.iter().filter_map(|key| if let ProductKey::Sku(sku) = key { Some(sku.as_str()) } else { None });
    let found = persistence::find(&pool, &ids, &skus.collect::<Vec<_>>()).await?;
    let by_key = found.into_iter().flat_map(|product| {
        let sku = product.delete_time.is_none().then(|| (ProductKey::Sku(product.sku.clone()), product.clone()));
        [Some((ProductKey::Id(product.product_id), product)), sku]
    });
    Ok(by_key.flatten().collect())
}

struct ProductGrpc {
    backbone: Arc<Backbone>,
    products: SharedReads<ProductKey, Product>,
    committer: Committer<Catalogue>,
    page_tokens: PageTokens,
}

impl ProductGrpc {
    async fn create(
        &self,
        call: CallContext,
        message: CreateProductRequest,
    ) -> Result<CreateProductResponse, CallError> {
        let (request_id, command) = parse::create(&message, Uuid::now_v7())?;
        let fingerprint = RequestFingerprint::of("CreateProduct", &message);
        let product = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(CreateProductResponse { product: Some(product) })
    }

    async fn update(
        &self,
        call: CallContext,
        message: UpdateProductRequest,
    ) -> Result<UpdateProductResponse, CallError> {
        let (request_id, command) = parse::update(&message)?;
        let canonical = parse::canonical_update(&message);
        let fingerprint = RequestFingerprint::of_canonical("UpdateProduct", &message, Some(&canonical));
        let product = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(UpdateProductResponse { product: Some(product) })
    }

    async fn delete(
        &self,
        call: CallContext,
        message: DeleteProductRequest,
    ) -> Result<DeleteProductResponse, CallError> {
        let (request_id, command) = parse::delete(&message)?;
        let fingerprint = RequestFingerprint::of("DeleteProduct", &message);
        let product = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(DeleteProductResponse { product: Some(product) })
    }

    async fn product(&self, _: CallContext, message: GetProductRequest) -> Result<GetProductResponse, CallError> {
        let key = parse::get(&message)?;
        let found = self.products.get(key.clone()).await.map_err(query_failed)?;
        let product = found.ok_or_else(|| not_found(&key))?;
        Ok(GetProductResponse { product: Some(present::product(&product)) })
    }

    async fn products(
        &self,
        _: CallContext,
        message: BatchGetProductsRequest,
    ) -> Result<BatchGetProductsResponse, CallError> {
        let skus = parse::skus(&message.skus)?;
        let names: Vec<&str> = skus.iter().map(AsRef::as_ref).collect();
        let found = persistence::find_by_skus(self.backbone.pool(), &names).await.map_err(query_failed)?;
        Ok(BatchGetProductsResponse { products: self.page_tokens.batch(&found, present::product)? })
    }

    async fn list(&self, call: CallContext, message: ListProductsRequest) -> Result<ListProductsResponse, CallError> {
        if message.show_deleted && !call.caller.reads_all() {
            call.caller.must_be_staff()?;
        }
        let size = parse::list(&message)?;
        let conditions = vec![u8::from(message.show_deleted)];
        let list = self.page_tokens.open_by(PRODUCTS, &call, conditions, &message.page_token)?;
        let page = Page {
            after: list.cursor().and_then(|bytes| Uuid::from_slice(bytes).ok()),
            show_deleted: message.show_deleted,
            // One more shows whether there is another page.
            limit: i64::from(size) + 1,
        };
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list(&mut *read, page).await.map_err(query_failed)?;
        let (products, next_page_token) =
            list.page(size, &found, present::product, |last| last.product_id.into_bytes());
        Ok(ListProductsResponse { products, next_page_token })
    }
}

calls! {
    impl ProductService for ProductGrpc {
        create_product(CreateProductRequest) -> CreateProductResponse = create, staff;
        get_product(GetProductRequest) -> GetProductResponse = product, anyone;
        batch_get_products(BatchGetProductsRequest) -> BatchGetProductsResponse = products, anyone;
        list_products(ListProductsRequest) -> ListProductsResponse = list, anyone;
        update_product(UpdateProductRequest) -> UpdateProductResponse = update, staff;
        delete_product(DeleteProductRequest) -> DeleteProductResponse = delete, staff;
    }
}
