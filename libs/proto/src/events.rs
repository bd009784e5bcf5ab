//! Which message, event type and topic belong together: one line an event, in one table.
//!
//! An event type is `{domain}.{entity}.{action}`; its topic is the type less its last word, plus `.v1`.

/// Kafka topics of events.
pub mod topics {
    /// What happens to orders. Key: order id.
    pub const ORDER_LIFECYCLE: &str = "order.lifecycle.v1";
    /// Reservations (key: order id) and stock levels (key: SKU).
    pub const INVENTORY_STOCK: &str = "inventory.stock.v1";
    /// Payments. Key: order id.
    pub const PAYMENT_TRANSACTION: &str = "payment.transaction.v1";
    /// Wallets. Key: user id.
    pub const PAYMENT_WALLET: &str = "payment.wallet.v1";
    /// The catalogue. Key: product id.
    pub const PRODUCT_CATALOG: &str = "product.catalog.v1";
    /// Messages to customers. Key: order id, or user id where there is no order.
    pub const NOTIFICATION_DELIVERY: &str = "notification.delivery.v1";

    /// All of them.
    pub const ALL: &[&str] = &[
        ORDER_LIFECYCLE,
        INVENTORY_STOCK,
        PAYMENT_TRANSACTION,
        PAYMENT_WALLET,
        PRODUCT_CATALOG,
        NOTIFICATION_DELIVERY,
    ];
}

/// A message that is published as an event of one type.
pub trait EventMessage: prost::Message + prost::Name + Default {
    /// Its event type (`ce_type`), for example `order.lifecycle.created`.
    const EVENT_TYPE: &'static str;
    /// The topic that carries it.
    const TOPIC: &'static str;
}

/// One line of the table of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventDescriptor {
    /// Event type (`ce_type`).
    pub event_type: &'static str,
    /// The topic that carries it.
    pub topic: &'static str,
    /// Full name of the message in its value, for example `openorder.order.v1.OrderCreated`.
    pub message: &'static str,
}

macro_rules! events {
    ($($topic:ident { $($name:ident = $event_type:literal => $context:ident :: $message:ident,)* })*) => {
        /// Event types (`ce_type`), each with the message that carries it.
        pub mod event_types {
            $($(
                #[doc = concat!("[`", stringify!($message), "`](crate::", stringify!($context), "::v1::", stringify!($message), ")")]
                pub const $name: &str = $event_type;
            )*)*
        }

        $($(
            impl EventMessage for crate::$context::v1::$message {
                const EVENT_TYPE: &'static str = $event_type;
                const TOPIC: &'static str = topics::$topic;
            }
        )*)*

        /// Every event there is.
        pub const ALL: &[EventDescriptor] = &[
            $($(
                EventDescriptor {
                    event_type: $event_type,
                    topic: topics::$topic,
                    message: concat!("openorder.", stringify!($context), ".v1.", stringify!($message)),
                },
            )*)*
        ];

        /// The line of an event type; `None` for a type that this version does not know.
        #[must_use]
        pub fn by_type(event_type: &str) -> Option<&'static EventDescriptor> {
            ALL.iter().find(|event| event.event_type == event_type)
        }
    };
}

events! {
    ORDER_LIFECYCLE {
        ORDER_CREATED = "order.lifecycle.created" => order::OrderCreated,
        ORDER_CONFIRMED = "order.lifecycle.confirmed" => order::OrderConfirmed,
        ORDER_PAID = "order.lifecycle.paid" => order::OrderPaid,
        ORDER_PREPARING = "order.lifecycle.preparing" => order::OrderPreparing,
        ORDER_SHIPPED = "order.lifecycle.shipped" => order::OrderShipped,
        ORDER_DELIVERED = "order.lifecycle.delivered" => order::OrderDelivered,
        ORDER_CANCELLED = "order.lifecycle.cancelled" => order::OrderCancelled,
        ORDER_REJECTED = "order.lifecycle.rejected" => order::OrderRejected,
        ORDER_COMPENSATION_FAILED = "order.lifecycle.compensation_failed" => order::OrderCompensationFailed,
        ORDER_COMPENSATION_RETRIED = "order.lifecycle.compensation_retried" => order::OrderCompensationRetried,
        ORDER_COMPENSATION_SETTLED = "order.lifecycle.compensation_settled" => order::OrderCompensationSettled,
    }
    INVENTORY_STOCK {
        STOCK_RESERVED = "inventory.stock.reserved" => inventory::StockReserved,
        STOCK_REJECTED = "inventory.stock.rejected" => inventory::StockRejected,
        STOCK_RELEASED = "inventory.stock.released" => inventory::StockReleased,
        STOCK_RELEASE_REQUESTED = "inventory.stock.release_requested" => inventory::StockReleaseRequested,
        STOCK_ADJUSTED = "inventory.stock.adjusted" => inventory::StockAdjusted,
        STOCK_LOW = "inventory.stock.low" => inventory::StockLow,
        STOCK_DEPLETED = "inventory.stock.depleted" => inventory::StockDepleted,
    }
    PAYMENT_TRANSACTION {
        PAYMENT_INITIATED = "payment.transaction.initiated" => payment::PaymentInitiated,
        PAYMENT_COMPLETED = "payment.transaction.completed" => payment::PaymentCompleted,
        PAYMENT_FAILED = "payment.transaction.failed" => payment::PaymentFailed,
        PAYMENT_REFUND_REQUESTED = "payment.transaction.refund_requested" => payment::PaymentRefundRequested,
        PAYMENT_REFUNDED = "payment.transaction.refunded" => payment::PaymentRefunded,
    }
    PAYMENT_WALLET {
        WALLET_CHARGED = "payment.wallet.charged" => payment::WalletCharged,
        WALLET_DEBITED = "payment.wallet.debited" => payment::WalletDebited,
    }
    PRODUCT_CATALOG {
        PRODUCT_CREATED = "product.catalog.created" => product::ProductCreated,
        PRODUCT_UPDATED = "product.catalog.updated" => product::ProductUpdated,
        PRODUCT_DELETED = "product.catalog.deleted" => product::ProductDeleted,
    }
    NOTIFICATION_DELIVERY {
        NOTIFICATION_REQUESTED = "notification.delivery.requested" => notification::NotificationRequested,
        NOTIFICATION_SENT = "notification.delivery.sent" => notification::NotificationSent,
        NOTIFICATION_FAILED = "notification.delivery.failed" => notification::NotificationFailed,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use prost::{Message, Name};
    use prost_types::FileDescriptorSet;

    use super::*;

    fn files() -> FileDescriptorSet {
        FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap()
    }

    #[test]
    fn a_topic_is_the_type_less_its_last_word_with_the_version() {
        for event in ALL {
            let (entity, _) = event.event_type.rsplit_once('.').unwrap();
            assert_eq!(event.topic, format!("{entity}.v1"), "{}", event.event_type);
        }
    }

    #[test]
    fn every_topic_has_an_event_and_every_event_a_listed_topic() {
        let used: BTreeSet<_> = ALL.iter().map(|event| event.topic).collect();
        let listed: BTreeSet<_> = topics::ALL.iter().copied().collect();
        assert_eq!(used, listed);
    }

    /// Both ways: no line without a message, and no message of an `_events.proto` file without a line.
    #[test]
    fn the_table_holds_exactly_the_messages_of_the_event_files() {
        let declared: BTreeSet<String> = files()
            .file
            .iter()
            .filter(|file| file.name().ends_with("_events.proto"))
            .flat_map(|file| file.message_type.iter().map(|message| format!("{}.{}", file.package(), message.name())))
            .collect();
        let listed: BTreeSet<String> = ALL.iter().map(|event| event.message.to_owned()).collect();
        assert_eq!(listed, declared);
        assert_eq!(listed.len(), ALL.len(), "a message stands for one type only");
    }

    /// The comment of each message names its event type: the contract alone tells a reader.
    #[test]
    fn the_comment_of_each_event_names_its_type() {
        for event in ALL {
            let (package, name) = event.message.rsplit_once('.').unwrap();
            let files = files();
            let file = files
                .file
                .iter()
                .find(|file| file.package() == package && file.name().ends_with("_events.proto"))
                .unwrap();
            let index = file.message_type.iter().position(|message| message.name() == name).unwrap();
            let path = [4, i32::try_from(index).unwrap()];
            let source = file.source_code_info.as_ref().unwrap();
            let comment = source.location.iter().find(|location| location.path == path).unwrap().leading_comments();
            assert!(comment.starts_with(&format!(" `{}`: ", event.event_type)), "{}: {comment}", event.message);
        }
    }

    #[test]
    fn a_type_is_found_by_its_name() {
        for event in ALL {
            assert_eq!(by_type(event.event_type), Some(event));
        }
        assert_eq!(by_type("order.lifecycle.teleported"), None);
    }

    #[test]
    fn messages_know_their_line() {
        type Created = crate::order::v1::OrderCreated;
        let line = by_type(Created::EVENT_TYPE).unwrap();
        assert_eq!(line.message, Created::full_name());
        assert_eq!(line.topic, Created::TOPIC);
    }
}
