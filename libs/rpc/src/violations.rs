//! Collects everything that is wrong with a request, so that its caller hears all of it at once.

use openorder_types::{FieldViolation, MoneyError, Rejection, ValueError};

/// An error of a value that names its own reason.
pub trait Violation {
    /// Reason (`UPPER_SNAKE`) and description of the violation.
    fn into_parts(self) -> (&'static str, String);
}

impl Violation for ValueError {
    fn into_parts(self) -> (&'static str, String) {
        (self.reason, self.message)
    }
}

impl Violation for MoneyError {
    fn into_parts(self) -> (&'static str, String) {
        (self.reason(), self.to_string())
    }
}

/// The violations of one request.
///
/// ```
/// # use openorder_rpc::Violations;
/// # use openorder_types::Sku;
/// let mut violations = Violations::new();
/// let sku = violations.take("lines[0].sku", Sku::parse("not a sku!"));
/// assert!(sku.is_none());
/// assert_eq!(violations.finish().unwrap_err().violations[0].field, "lines[0].sku");
/// ```
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// No violation so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value, or `None` with its error noted under the field's protobuf path.
    pub fn take<T>(&mut self, field: impl Into<String>, parsed: Result<T, impl Violation>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                let (reason, description) = error.into_parts();
                self.add(field, reason, description);
                None
            }
        }
    }

    /// The message of a field that must be set, or `None` with `FIELD_MISSING` noted.
    pub fn required<T>(&mut self, field: impl Into<String>, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(field, "FIELD_MISSING", "must be set");
        }
        value
    }

    /// Notes a violation.
    pub fn add(&mut self, field: impl Into<String>, reason: &'static str, description: impl Into<String>) {
        self.0.push(FieldViolation::new(field, reason, description));
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the collection.
    ///
    /// # Errors
    ///
    /// An invalid request with all violations, if there is any.
    pub fn finish(self) -> Result<(), Rejection> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(self.into_rejection()),
        }
    }

    /// Ends the collection and gives what was parsed: without a violation, all of it was.
    ///
    /// # Errors
    ///
    /// An invalid request with all violations, if there is any.
    pub fn finish_with<T>(self, parsed: Option<T>) -> Result<T, Rejection> {
        self.finish()?;
        parsed.ok_or_else(|| Rejection::invalid(Vec::new()))
    }

    /// The rejection, for the arm of a `let … else` in which a value is missing.
    #[must_use]
    pub fn into_rejection(self) -> Rejection {
        Rejection::invalid(self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_types::Sku;

    use super::*;

    #[test]
    fn all_violations_come_at_once() {
        let mut violations = Violations::new();
        assert!(violations.take("sku", Sku::parse("A-1")).is_some());
        assert!(violations.is_empty());
        assert_eq!(violations.take("lines[0].sku", Sku::parse("")), None);
        assert_eq!(violations.required::<()>("price", None), None);
        let rejection = violations.finish().unwrap_err();
        assert_eq!(rejection.reason, "INVALID_ARGUMENT");
        let fields: Vec<_> = rejection.violations.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["lines[0].sku", "price"]);
    }

    #[test]
    fn nothing_wrong_is_no_rejection() {
        assert_eq!(Violations::new().finish(), Ok(()));
    }
}
