//! What a notification is about, how it goes, and its status. The numbers are those of the contract and of
//! the tables.

use openorder_types::numbered;

numbered! {
    /// What a notification is about.
    pub enum Kind {
        /// The order was paid and is being prepared.
        OrderPaid = 1 "order_paid",
        /// The order was handed to the carrier.
        OrderShipped = 2 "order_shipped",
        /// The order was delivered.
        OrderDelivered = 3 "order_delivered",
        /// The order was called off.
        OrderCancelled = 4 "order_cancelled",
        /// The order could not be fulfilled.
        OrderRejected = 5 "order_rejected",
    }
}

numbered! {
    /// How a notification reaches the customer.
    pub enum Channel {
        /// Mail.
        Email = 1 "email",
        /// Text message to a telephone.
        Sms = 2 "sms",
        /// Message to the customer's app.
        Push = 3 "push",
    }
}

numbered! {
    /// Status of a notification.
    pub enum Status {
        /// To be sent, or being tried again.
        Requested = 1 "requested",
        /// Handed over.
        Sent = 2 "sent",
        /// Given up.
        Failed = 3 "failed",
        /// Not wanted, or without an address.
        Suppressed = 4 "suppressed",
    }
}
