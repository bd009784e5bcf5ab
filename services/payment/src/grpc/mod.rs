//! `openorder.payment.v1.PaymentService`: parse, call, answer.

mod parse;

use std::sync::Arc;

use openorder_messaging::{Backbone, Committer, SharedReads};
use openorder_proto::payment::v1::{
    ChargeWalletRequest, ChargeWalletResponse, GetPaymentRequest, GetPaymentResponse, GetWalletRequest,
    GetWalletResponse, ListPaymentsRequest, ListPaymentsResponse, Payment as PaymentMessage, ProcessPaymentRequest,
    ProcessPaymentResponse,
    payment_service_server::{PaymentService, PaymentServiceServer},
};
use openorder_rpc::{CallContext, PageTokens, RequestFingerprint, calls, query_failed};
use openorder_service::{Commands, request_key};
use openorder_types::{CallError, Caller, UserId};
use tonic::service::Routes;
use uuid::Uuid;

use crate::{
    application::{DueOrder, Orders, Payments},
    domain::{Command, Payment, Wallet, not_your_wallet, order_not_found, payment_not_found, wallet_not_found},
    persistence::{self, Key},
    present,
};

/// Name of the list in page tokens.
const PAYMENTS: &str = "payment.payments";

pub(crate) fn service(
    backbone: Arc<Backbone>,
    committer: Committer<Payments>,
    orders: Orders,
    page_tokens: PageTokens,
) -> Routes {
    let wallets = backbone.shared_reads(|pool, users: Vec<UserId>| async move {
        let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let found = persistence::find_wallets(&pool, &names).await?;
        Ok(found.into_iter().map(|wallet| (wallet.user_id.clone(), wallet)).collect())
    });
    let payments =
        backbone.shared_reads(|pool, keys: Vec<Key>| async move { persistence::find_payments(&pool, &keys).await });
    Routes::new(PaymentServiceServer::new(PaymentGrpc { backbone, wallets, payments, committer, orders, page_tokens }))
}

struct PaymentGrpc {
    backbone: Arc<Backbone>,
    wallets: SharedReads<UserId, Wallet>,
    payments: SharedReads<Key, Payment>,
    committer: Committer<Payments>,
    orders: Orders,
    page_tokens: PageTokens,
}

impl PaymentGrpc {
    async fn charge(&self, call: CallContext, message: ChargeWalletRequest) -> Result<ChargeWalletResponse, CallError> {
        let parse::Charge { request_id, user_id, amount } = parse::charge(&message)?;
        if !call.caller.may_act_for(&user_id) {
            return Err(not_your_wallet(&user_id).into());
        }
        let fingerprint = RequestFingerprint::of("ChargeWallet", &message);
        let command = Command::Charge { user_id, amount };
        let wallet = self.committer.call(&call, fingerprint, request_id.into_string(), command).await?;
        Ok(ChargeWalletResponse { wallet: Some(wallet) })
    }

    async fn process(
        &self,
        call: CallContext,
        message: ProcessPaymentRequest,
    ) -> Result<ProcessPaymentResponse, CallError> {
        let (request_id, order_id) = parse::process(&message)?;
        let fingerprint = RequestFingerprint::of("ProcessPayment", &message);
        let key = request_key(&call, fingerprint, request_id.into_string());
        // What was done is answered wherever the order stands by now, and whoever is away.
        let done: Option<PaymentMessage> = self.committer.recall_call(&key).await?;
        let payment = match done {
            Some(payment) => payment,
            None => {
                let DueOrder { user_id, amount, version } = self.orders.due(&call, order_id).await?;
                // Who may look at the order of another may not pay it.
                if !call.caller.may_act_for(&user_id) {
                    return Err(order_not_found(order_id).into());
                }
                let (payment_id, order_version) = (Uuid::now_v7(), version);
                let command = Command::Process { payment_id, order_id, order_version, user_id, amount };
                self.committer.call_under(&call, key, command).await?
            }
        };
        Ok(ProcessPaymentResponse { payment: Some(payment) })
    }

    async fn wallet(&self, call: CallContext, message: GetWalletRequest) -> Result<GetWalletResponse, CallError> {
        let user_id = parse::user_id(&message.user_id)?;
        if !call.caller.may_see(&user_id) {
            return Err(wallet_not_found(&user_id).into());
        }
        let found = self.wallets.get(user_id.clone()).await.map_err(query_failed)?;
        let wallet = found.ok_or_else(|| wallet_not_found(&user_id))?;
        Ok(GetWalletResponse { wallet: Some(present::wallet(&wallet)) })
    }

    async fn payment(&self, call: CallContext, message: GetPaymentRequest) -> Result<GetPaymentResponse, CallError> {
        let key = parse::key(&message)?;
        let found = self.payments.get(key).await.map_err(query_failed)?;
        let visible = found.filter(|payment| call.caller.may_see(&payment.user_id));
        let payment = visible.ok_or_else(payment_not_found)?;
        Ok(GetPaymentResponse { payment: Some(present::payment(&payment)) })
    }

    async fn payments(
        &self,
        call: CallContext,
        message: ListPaymentsRequest,
    ) -> Result<ListPaymentsResponse, CallError> {
        let list = self.page_tokens.open(PAYMENTS, &call, &message)?;
        let (mut filter, size) = parse::list(&message, list.cursor())?;
        match visible_user(&call.caller, filter.user_id) {
            Visible::Any(user_id) => filter.user_id = user_id,
            Visible::Nothing => return Ok(ListPaymentsResponse::default()),
        }
        let mut read = self.backbone.read().await.map_err(query_failed)?;
        let found = persistence::list_payments(&mut *read, &filter, i64::from(size) + 1).await.map_err(query_failed)?;
        let (payments, next_page_token) =
            list.page(size, &found, present::payment, |last| last.payment_id.into_bytes());
        Ok(ListPaymentsResponse { payments, next_page_token })
    }
}

calls! {
    impl PaymentService for PaymentGrpc {
        charge_wallet(ChargeWalletRequest) -> ChargeWalletResponse = charge, anyone;
        process_payment(ProcessPaymentRequest) -> ProcessPaymentResponse = process, anyone;
        get_wallet(GetWalletRequest) -> GetWalletResponse = wallet, anyone;
        get_payment(GetPaymentRequest) -> GetPaymentResponse = payment, anyone;
        list_payments(ListPaymentsRequest) -> ListPaymentsResponse = payments, anyone;
    }
}

/// Whose payments a list may show.
#[derive(Debug, PartialEq, Eq)]
enum Visible {
    /// Those of the user, or of all users.
    Any(Option<UserId>),
    /// What the caller may not see is as if it did not exist.
    Nothing,
}

fn visible_user(caller: &Caller, wanted: Option<UserId>) -> Visible {
    if caller.reads_all() {
        return Visible::Any(wanted);
    }
    // Nobody but a customer is left, and who is no user has no payments.
    let wanted = wanted.or_else(|| UserId::parse(&caller.subject).ok());
    match wanted.filter(|user_id| caller.may_act_for(user_id)) {
        Some(user_id) => Visible::Any(Some(user_id)),
        None => Visible::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::Role;

    use super::*;

    #[test]
    fn a_list_shows_customers_their_own_and_staff_all() {
        let user = |text: &str| Some(UserId::parse(text).unwrap());
        let ada = Caller::new("ada", [Role::Customer]);
        assert_eq!(visible_user(&ada, None), Visible::Any(user("ada")));
        assert_eq!(visible_user(&ada, user("ada")), Visible::Any(user("ada")));
        assert_eq!(visible_user(&ada, user("bob")), Visible::Nothing);
        for reader in [Role::Operator, Role::Service, Role::Viewer].map(|role| Caller::new("root", [role])) {
            assert_eq!(visible_user(&reader, None), Visible::Any(None));
            assert_eq!(visible_user(&reader, user("bob")), Visible::Any(user("bob")));
        }
        assert_eq!(visible_user(&Caller::new("ada", []), None), Visible::Nothing);
        assert_eq!(visible_user(&Caller::new("no/user", [Role::Customer]), None), Visible::Nothing);
    }
}
