//! What a notification is about, how it goes, and its status. The numbers are those of the contract and of
//! the tables.

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $number:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum $name {
            $($(#[$doc])* $value = $number,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The value with this number.
            #[must_use]
            pub fn from_number(number: i16) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| *value as i16 == number)
            }

            /// The name in traces and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

numbered! {
    /// What a notification is about.
    Kind {
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
    Channel {
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
    Status {
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
