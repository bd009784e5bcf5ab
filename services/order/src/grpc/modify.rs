//! ModifyOrder: other lines for an order that exists.

use openorder_proto::order::v1::{ModifyOrderRequest, ModifyOrderResponse, Order};
use openorder_rpc::{CallContext, RequestFingerprint};
use openorder_service::{Commands, request_key};
use openorder_types::CallError;

use crate::{
    application::Command,
    domain::{ModifyRequest, OrderCommand, ProductAnswers, rejection},
    grpc::{OrderGrpc, parse},
};

impl OrderGrpc {
    pub(super) async fn modify(
        &self,
        call: CallContext,
        message: ModifyOrderRequest,
    ) -> Result<ModifyOrderResponse, CallError> {
        let (request_id, order_id, wanted) = parse::modify(&message, &call.caller)?;
        let fingerprint = RequestFingerprint::of("ModifyOrder", &message);
        // What was done is answered whoever is away, and whatever is sold by now.
        let key = request_key(&call, fingerprint, request_id.clone());
        if let Some(done) = self.committer.recall_call::<Order>(&key).await? {
            return Ok(ModifyOrderResponse { order: Some(done) });
        }
        let with = |product_answers: ProductAnswers| {
            let wanted = Box::new(ModifyRequest { product_answers, ..wanted.clone() });
            Command::Order { order_id, command: OrderCommand::Modify(wanted) }
        };
        let answers = self.catalogue.ensure(wanted.lines.iter().map(|line| &line.sku), &call).await?;
        let order = match self.committer.call_under(&call, key, with(answers)).await {
            // The product service's word is final, and what the copy had is not looked at again.
            Err(CallError::Rejected(no)) if no.reason == rejection::CATALOGUE_IN_DOUBT => {
                let answers = self.catalogue.ask(wanted.lines.iter().map(|line| &line.sku), &call).await?;
                let key = request_key(&call, fingerprint, request_id);
                self.committer.call_under(&call, key, with(answers)).await
            }
            answer => answer,
        };
        Ok(ModifyOrderResponse { order: Some(order?) })
    }
}
