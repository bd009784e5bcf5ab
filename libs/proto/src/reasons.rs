//! The stable words behind the enums that say why: `INSUFFICIENT_BALANCE` for
//! `PAYMENT_FAILURE_REASON_INSUFFICIENT_BALANCE`. They are what `Order.status_reason` and error reasons show.

use crate::inventory::v1::{StockRejectionReason, StockReleaseReason};
use crate::order::v1::{CancellationCause, OrderModificationState, OrderStatus, PaymentMode, ReservationMode};
use crate::payment::v1::{PaymentFailureReason, PaymentRefundReason, PaymentState};
use crate::promotion::v1::CouponRejectionReason;

/// An enum of the contract whose values have a word of their own.
pub trait Word: Copy {
    /// What all names of the enum begin with, for example `ORDER_STATUS_`.
    const PREFIX: &'static str;

    /// The value's name in the contract.
    fn name(self) -> &'static str;

    /// The name without the prefix, for example `OUT_OF_STOCK`.
    fn word(self) -> &'static str {
        let name = self.name();
        name.strip_prefix(Self::PREFIX).unwrap_or(name)
    }
}

macro_rules! words {
    ($($enumeration:ident $prefix:literal;)*) => {
        $(
            impl Word for $enumeration {
                const PREFIX: &'static str = $prefix;

                fn name(self) -> &'static str {
                    self.as_str_name()
                }
            }
        )*

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn every_prefix_fits_its_enum() {
                $(
                    assert_eq!($enumeration::default().word(), "UNSPECIFIED", stringify!($enumeration));
                )*
                assert_eq!(StockRejectionReason::OutOfStock.word(), "OUT_OF_STOCK");
            }
        }
    };
}

words! {
    OrderStatus "ORDER_STATUS_";
    OrderModificationState "ORDER_MODIFICATION_STATE_";
    CancellationCause "CANCELLATION_CAUSE_";
    ReservationMode "RESERVATION_MODE_";
    PaymentMode "PAYMENT_MODE_";
    StockRejectionReason "STOCK_REJECTION_REASON_";
    StockReleaseReason "STOCK_RELEASE_REASON_";
    PaymentFailureReason "PAYMENT_FAILURE_REASON_";
    PaymentRefundReason "PAYMENT_REFUND_REASON_";
    PaymentState "PAYMENT_STATE_";
    CouponRejectionReason "COUPON_REJECTION_REASON_";
}
