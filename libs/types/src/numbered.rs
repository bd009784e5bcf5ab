//! Enums whose values are stored and sent as numbers, and shown as words.

/// Defines an enum whose values have numbers and words, each once.
///
/// The numbers are stored, so a value keeps its number for ever. The enum has `ALL`, `number`, `from_number`,
/// `from_stored` (which is a [`Fault`](crate::Fault) for a number that is not known), `as_str`, and its words as
/// `Display`.
///
/// ```
/// openorder_types::numbered! {
///     /// How far an order is.
///     pub enum OrderStatus {
///         /// Accepted.
///         Pending = 5 "PENDING",
///         /// Paid for.
///         Paid = 15 "PAID",
///     }
/// }
///
/// assert_eq!(OrderStatus::Paid.number(), 15);
/// assert_eq!(OrderStatus::from_number(5), Some(OrderStatus::Pending));
/// assert_eq!(OrderStatus::from_number(6), None);
/// assert!(OrderStatus::from_stored(6).is_err());
/// assert_eq!(OrderStatus::Paid.to_string(), "PAID");
/// ```
#[macro_export]
macro_rules! numbered {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$doc:meta])* $value:ident = $number:literal $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        $visibility enum $name {
            $($(#[$doc])* $value = $number,)+
        }

        #[allow(dead_code, reason = "an enum has all of it, whether it is used or not")]
        impl $name {
            /// All values.
            $visibility const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The number that is stored and sent.
            #[must_use]
            $visibility const fn number(self) -> i16 {
                self as i16
            }

            /// The value with this number, if there is one.
            #[must_use]
            $visibility fn from_number(number: impl ::core::convert::Into<i32>) -> ::core::option::Option<Self> {
                match number.into() {
                    $($number => ::core::option::Option::Some(Self::$value),)+
                    _ => ::core::option::Option::None,
                }
            }

            /// The value that is stored as this number.
            ///
            /// # Errors
            /// A permanent fault: the number is not known.
            $visibility fn from_stored(number: i16) -> ::core::result::Result<Self, $crate::Fault> {
                Self::from_number(number).ok_or_else(|| {
                    $crate::Fault::permanent(::std::format!("{} has no number {number}", stringify!($name)))
                })
            }

            /// Its word in traces, metrics and texts.
            #[must_use]
            $visibility const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// For tests: asserts that enums of [`numbered!`] have the numbers and the names of enums of the contract. A name there
/// is the prefix and the word; 0 is "unspecified" there, and need not be a value of ours.
#[macro_export]
macro_rules! assert_numbered_as_in_the_contract {
    ($($own:ty = $contract:ty, $prefix:literal;)+) => {
        $(
            for number in 0..=i32::from(u8::MAX) {
                let own = <$own>::from_number(number);
                let own = own.map(|value| ::std::format!("{}_{}", $prefix, value.as_str().to_uppercase()));
                let contract = <$contract>::try_from(number).ok().map(|value| value.as_str_name());
                if number != 0 || own.is_some() {
                    assert_eq!(own.as_deref(), contract, "{} {number}", stringify!($own));
                }
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    crate::numbered! {
        /// Of the test.
        enum Size {
            Small = 1 "SMALL",
            Large = 30 "LARGE",
        }
    }

    #[test]
    fn numbers_and_words_go_both_ways() {
        for size in Size::ALL {
            assert_eq!(Size::from_number(size.number()), Some(*size));
            assert_eq!(Size::from_stored(size.number()), Ok(*size));
            assert_eq!(size.to_string(), size.as_str());
        }
        assert_eq!((Size::Large.number(), Size::Large.as_str()), (30, "LARGE"));
        assert_eq!((Size::from_number(0), Size::from_number(i32::MAX)), (None, None));
        assert_eq!(Size::from_stored(2), Err(crate::Fault::permanent("Size has no number 2")));
    }
}
