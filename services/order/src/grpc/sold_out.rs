//! An order that wants its stock at once, of a product that was sold out a moment ago: it is looked at how much there is
//! before the order is made.
//!
//! Two reads, which callers share, are in the place of an order, a reservation, their events and the lock of the level's
//! row. What is refused here would have been refused there at the same moment: the stock is read after the call has begun.

use std::time::Duration;

use openorder_messaging::RequestKey;
use openorder_proto::inventory::v1::{GetStockRequest, Stock};
use openorder_rpc::CallContext;
use openorder_service::Commands;
use openorder_types::{CallError, Caller, Sku};

use crate::{
    application::{Hint, MadeOrder},
    domain::{NewOrder, RequestedLine, rejection},
    grpc::OrderGrpc,
};

impl OrderGrpc {
    /// The order that this request made before; none: it is to be made.
    ///
    /// # Errors
    /// `OUT_OF_STOCK`, then there is no order; those of the database.
    pub(super) async fn look_ahead(
        &self,
        call: &CallContext,
        key: &RequestKey,
        new: &NewOrder,
    ) -> Result<Option<MadeOrder>, CallError> {
        let is_sold = |line: &&RequestedLine| new.product_answers.get(&line.sku) != Some(&false);
        let suspects: Vec<&RequestedLine> =
            new.lines.iter().filter(is_sold).filter(|line| self.hints.was_sold_out(line.sku.as_str())).collect();
        if suspects.is_empty() {
            return Ok(None);
        }
        let short = self.short_of(call, &suspects).await;
        self.hints.followed(Hint::SoldOut, short.is_some());
        let Some(sku) = short else { return Ok(None) };
        // It may be this request that has the last piece: looked up after the stock, its order is found.
        match self.committer.recall_call(key).await? {
            Some(made) => Ok(Some(made)),
            None => Err(rejection::sold_out(&sku).into()),
        }
    }

    /// The first of these products of which there is too little; none where that is not known for sure.
    async fn short_of(&self, call: &CallContext, lines: &[&RequestedLine]) -> Option<Sku> {
        let mut call = call.clone().within(Duration::from_millis(self.settings.hints.stock_timeout_ms));
        call.caller = Caller::service("order");
        let looks = lines.iter().map(|line| self.is_short(&call, line));
        let found = futures::future::join_all(looks).await;
        lines.iter().zip(found).find_map(|(line, is_short)| is_short.then(|| line.sku.clone()))
    }

    async fn is_short(&self, call: &CallContext, line: &RequestedLine) -> bool {
        let (stock, product) = tokio::join!(self.stock_of(call, &line.sku), self.products.get(line.sku.clone()));
        let (Some(stock), Ok(Some(product))) = (stock, product) else { return false };
        if i64::from(stock.available_quantity) >= line.quantity.get() {
            self.hints.note_in_stock(line.sku.as_str());
            return false;
        }
        // A product that has its SKU of another one may have stock that the inventory service has not heard of.
        !product.deleted && product.product_number > 0 && product.product_number == stock.product_number
    }

    async fn stock_of(&self, call: &CallContext, sku: &Sku) -> Option<Stock> {
        let request = GetStockRequest { sku: sku.to_string() };
        self.inventory.clone().get_stock(call.request(request)).await.ok()?.into_inner().stock
    }
}
