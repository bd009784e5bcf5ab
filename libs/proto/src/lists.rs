//! Requests for lists: which fields ask for a page, and which ones say of what.

use prost::Message;

use crate::{history, inventory, notification, operations, order, payment, promotion, shipping, user};

/// A request for a list with pages (AIP-158).
pub trait ListRequest: Message + Clone {
    /// The token of the page that is asked for; empty for the first one.
    fn page_token(&self) -> &str;
    /// What the list is of, encoded: everything but the page's size and token.
    fn conditions(&self) -> Vec<u8>;
}

macro_rules! list_requests {
    ($($request:path;)*) => {
        $(
            impl ListRequest for $request {
                fn page_token(&self) -> &str {
                    &self.page_token
                }

                fn conditions(&self) -> Vec<u8> {
                    let mut conditions = self.clone();
                    conditions.page_size = 0;
                    conditions.page_token.clear();
                    conditions.encode_to_vec()
                }
            }
        )*
    };
}

list_requests! {
    history::v1::ListOrderViewsRequest;
    history::v1::SearchOrdersRequest;
    inventory::v1::ListReservationsRequest;
    inventory::v1::ListReservationMismatchesRequest;
    notification::v1::ListNotificationsRequest;
    operations::v1::ListAuditEntriesRequest;
    order::v1::ListOrdersRequest;
    order::v1::ListSagasRequest;
    payment::v1::ListPaymentsRequest;
    promotion::v1::ListCouponsRequest;
    promotion::v1::ListIssuedCouponsRequest;
    shipping::v1::ListShipmentsRequest;
    user::v1::ListUserActivityRequest;
    user::v1::ListUsersRequest;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_no_condition_and_everything_else_is() {
        let list = order::v1::ListOrdersRequest { customer_id: "ada".to_owned(), ..Default::default() };
        let page = order::v1::ListOrdersRequest { page_size: 7, page_token: "next".to_owned(), ..list.clone() };
        assert_eq!((page.page_token(), page.conditions()), ("next", list.encode_to_vec()));
        let other = order::v1::ListOrdersRequest { customer_id: "bob".to_owned(), ..page };
        assert_ne!(other.conditions(), list.conditions());
    }
}
