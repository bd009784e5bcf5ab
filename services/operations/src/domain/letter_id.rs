//! The name of a message in all of the deployment.

use std::fmt;

use openorder_types::ValueError;

/// `{group}/{sequence}`: the service that has it, and its id there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterId {
    /// The consumer group, which is named as its service.
    pub group: String,
    /// From 1.
    pub sequence: i64,
}

impl LetterId {
    /// Reads an id.
    ///
    /// # Errors
    /// `DEAD_LETTER_ID_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let form = || ValueError::new("DEAD_LETTER_ID_MALFORMED", "must be group/number, such as inventory/42");
        let (group, sequence) = text.split_once('/').ok_or_else(form)?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0).ok_or_else(form)?;
        if group.is_empty() || !group.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            return Err(form());
        }
        Ok(Self { group: group.to_owned(), sequence })
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_group_and_a_number() {
        let id = LetterId::parse("inventory/42").unwrap();
        assert_eq!((id.group.as_str(), id.sequence, id.to_string()), ("inventory", 42, "inventory/42".to_owned()));
        for bad in ["", "42", "/42", "inventory/", "inventory/0", "inventory/-1", "inventory/x", "A B/1", "a/1/2"] {
            assert_eq!(LetterId::parse(bad).unwrap_err().reason, "DEAD_LETTER_ID_MALFORMED", "{bad}");
        }
    }
}
