//! How a struct of settings is declared and walked.

use std::fmt;
use std::ops::RangeInclusive;

use crate::value::{Raw, Value};

/// A struct made by [`settings!`](crate::settings!).
pub trait Settings: Default + Clone {
    /// Shows every setting, nested ones too, to the visitor. `prefix` is the key of this struct,
    /// empty for the outermost one.
    fn visit(&mut self, prefix: &str, visitor: &mut dyn Visitor);
}

/// Walks the settings of a struct.
pub trait Visitor {
    /// One setting: its key, what it means (the lines of its doc comment), and its value.
    fn setting(&mut self, key: &str, doc: &[&'static str], value: &mut dyn Leaf);

    /// Two settings of one struct, after all of its own: `holds` when the first is not more than the second. Each with
    /// its key and its value as an operator may see it. The default takes no note of it.
    fn order(&mut self, lower: (&str, String), upper: (&str, String), holds: bool) {
        let _ = (lower, upper, holds);
    }
}

/// One value, whatever its type.
pub trait Leaf {
    /// Takes a value over when it is allowed.
    ///
    /// # Errors
    /// What is allowed, when it is not.
    fn set(&mut self, raw: &Raw) -> Result<(), String>;

    /// Whether the present value is within its bounds.
    ///
    /// # Errors
    /// What is allowed, when it is not.
    fn check(&self) -> Result<(), String>;

    /// What is allowed.
    fn allowed(&self) -> String;

    /// The value as an operator may see it.
    fn shown(&self) -> String;

    /// Whether a refused value may be repeated in an error message.
    fn is_secret(&self) -> bool;
}

/// A value without bounds besides those of its type.
struct Free<'a, T>(&'a mut T);

impl<T: Value> Leaf for Free<'_, T> {
    fn set(&mut self, raw: &Raw) -> Result<(), String> {
        *self.0 = T::read(raw).ok_or_else(T::allowed)?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn allowed(&self) -> String {
        T::allowed()
    }

    fn shown(&self) -> String {
        self.0.shown()
    }

    fn is_secret(&self) -> bool {
        T::is_secret()
    }
}

/// A value within bounds.
struct Bounded<'a, T>(&'a mut T, RangeInclusive<T>);

impl<T: Value + PartialOrd + fmt::Display> Leaf for Bounded<'_, T> {
    fn set(&mut self, raw: &Raw) -> Result<(), String> {
        let value = T::read(raw).filter(|value| self.1.contains(value));
        *self.0 = value.ok_or_else(|| self.allowed())?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.1.contains(&*self.0) { Ok(()) } else { Err(self.allowed()) }
    }

    fn allowed(&self) -> String {
        format!("from {} to {}", self.1.start(), self.1.end())
    }

    fn shown(&self) -> String {
        self.0.shown()
    }

    fn is_secret(&self) -> bool {
        T::is_secret()
    }
}

/// What [`settings!`](crate::settings!) writes its code with. A field is a value or a struct of
/// settings; which one, its type says.
#[doc(hidden)]
pub mod build {
    use super::{Bounded, Free, Settings, Visitor, fmt};
    use crate::value::Value;
    use std::marker::PhantomData;
    use std::ops::RangeInclusive;

    /// Chooses between a value and a nested struct: the inherent method of the value wins where it
    /// exists, the trait's serves the rest.
    pub struct Field<T>(pub PhantomData<T>);

    impl<T: Value> Field<T> {
        pub fn given(&self, default: T::Given) -> T {
            T::given(default)
        }

        pub fn visit(&self, field: &mut T, key: &str, doc: &[&'static str], visitor: &mut dyn Visitor) {
            visitor.setting(key, doc, &mut Free(field));
        }
    }

    pub trait NestedField<T> {
        fn given(&self, default: T) -> T;
        fn visit(&self, field: &mut T, key: &str, doc: &[&'static str], visitor: &mut dyn Visitor);
    }

    impl<T: Settings> NestedField<T> for Field<T> {
        fn given(&self, default: T) -> T {
            default
        }

        fn visit(&self, field: &mut T, key: &str, _: &[&'static str], visitor: &mut dyn Visitor) {
            field.visit(key, visitor);
        }
    }

    pub fn nested<T: Settings>() -> T {
        T::default()
    }

    pub fn visit_bounded<T: Value + PartialOrd + fmt::Display>(
        field: &mut T,
        bounds: RangeInclusive<T>,
        key: &str,
        doc: &[&'static str],
        visitor: &mut dyn Visitor,
    ) {
        visitor.setting(key, doc, &mut Bounded(field, bounds));
    }

    pub fn key(prefix: &str, field: &str) -> String {
        if prefix.is_empty() { field.to_owned() } else { format!("{prefix}.{field}") }
    }
}

/// Declares a struct of settings: each field has a doc comment, a type, a default and, for numbers,
/// bounds that include both ends. A field without a default is a nested struct made by this macro
/// too; with a default it may also be one, to give it other defaults than its own.
///
/// Settings that can contradict each other are named after the struct: the first must not be more than the second,
/// or [`load`](crate::load()) refuses them both.
///
/// ```
/// use openorder_config::Secret;
///
/// openorder_config::settings! {
///     /// How events leave the database.
///     pub struct RelaySettings {
///         /// Events published at once.
///         batch_max: usize = 500, 1..=10_000;
///         /// Events that wait in memory.
///         held_max: usize = 20_000, 1..=1_000_000;
///     }
///     keeps {
///         batch_max <= held_max;
///     }
/// }
/// openorder_config::settings! {
///     /// Order service.
///     pub struct OrderSettings {
///         /// Address the gRPC server listens on.
///         listen_address: std::net::SocketAddr = ([127, 0, 0, 1], 8101);
///         /// PostgreSQL URL.
///         database_url: Secret = "postgres://postgres@127.0.0.1:15432/openorder_order";
///         /// Kafka brokers.
///         brokers: Vec<String> = "127.0.0.1:19092";
///         /// How events leave the database.
///         relay: RelaySettings = RelaySettings { batch_max: 100, ..RelaySettings::default() };
///     }
/// }
/// assert_eq!(OrderSettings::default().relay.batch_max, 100);
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident : $ty:ty $(= $default:expr $(, $bounds:expr)?)? ;
            )*
        }
        $(keeps {
            $( $lower:ident <= $upper:ident ; )*
        })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $(
                $(#[doc = $doc])+
                pub $field: $ty,
            )*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                #[allow(unused_imports)]
                use $crate::settings::build::NestedField as _;
                Self {
                    $( $field: $crate::__setting_default!($ty $(, $default)?), )*
                }
            }
        }

        impl $crate::Settings for $name {
            fn visit(&mut self, prefix: &str, visitor: &mut dyn $crate::settings::Visitor) {
                #[allow(unused_imports)]
                use $crate::settings::build::NestedField as _;
                $(
                    $crate::__setting_visit!(
                        &mut self.$field,
                        &$crate::settings::build::key(prefix, ::core::stringify!($field)),
                        &[$($doc),+],
                        visitor,
                        $ty
                        $( $(, $bounds)? )?
                    );
                )*
                $($(
                    visitor.order(
                        (
                            &$crate::settings::build::key(prefix, ::core::stringify!($lower)),
                            $crate::Value::shown(&self.$lower),
                        ),
                        (
                            &$crate::settings::build::key(prefix, ::core::stringify!($upper)),
                            $crate::Value::shown(&self.$upper),
                        ),
                        self.$lower <= self.$upper,
                    );
                )*)?
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __setting_default {
    ($ty:ty) => {
        $crate::settings::build::nested::<$ty>()
    };
    ($ty:ty, $default:expr) => {
        $crate::settings::build::Field::<$ty>(::core::marker::PhantomData).given($default)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __setting_visit {
    ($field:expr, $key:expr, $doc:expr, $visitor:expr, $ty:ty) => {
        $crate::settings::build::Field::<$ty>(::core::marker::PhantomData).visit($field, $key, $doc, $visitor)
    };
    ($field:expr, $key:expr, $doc:expr, $visitor:expr, $ty:ty, $bounds:expr) => {
        $crate::settings::build::visit_bounded::<$ty>($field, $bounds, $key, $doc, $visitor)
    };
}
