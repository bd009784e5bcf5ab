//! The names of one setting in every layer, and the nearest known name for a misspelt one.

/// What the names of all our variables begin with.
pub const PREFIX: &str = "OPENORDER_";

/// Variables that begin like ours and are read by somebody else: where the configuration stands,
/// what tests and the local stack are told. A setting of the same name is a setting.
const OTHERS: &[&str] = &[
    "OPENORDER_CONFIG",
    "OPENORDER_DATA_DIR",
    "OPENORDER_FAULT_INJECTION",
    "OPENORDER_FAULT_POINTS",
    "OPENORDER_JAEGER_URL",
    "OPENORDER_KAFKA_BROKERS",
    "OPENORDER_MAIL_URL",
    "OPENORDER_OTLP_ENDPOINT",
    "OPENORDER_POSTGRES_URL",
    "OPENORDER_REDIS_URL",
    "OPENORDER_SMTP_URL",
    "OPENORDER_STACK",
    "OPENORDER_TOKEN",
];

/// The environment variable of a key: `order.relay.batch_max` is `OPENORDER_ORDER_RELAY_BATCH_MAX`.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Whether a variable that is no setting is somebody else's and none of our business. Settings are
/// looked up first, so one that ends in `_PORT` is read all the same.
#[must_use]
pub fn is_others(variable: &str) -> bool {
    OTHERS.contains(&variable)
        || variable.starts_with("OPENORDER_DEV_")
        || (variable.starts_with(PREFIX) && variable.ends_with("_PORT"))
}

/// The known name that differs least from the given one, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (known, distance) =
        known.into_iter().map(|known| (known, distance(name, known))).min_by_key(|(_, distance)| *distance)?;
    (distance <= (name.chars().count() / 3).max(2)).then_some(known)
}

/// Levenshtein's distance: how many characters to insert, delete or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_variables() {
        assert_eq!(variable("order.saga_step_timeout_ms"), "OPENORDER_ORDER_SAGA_STEP_TIMEOUT_MS");
        assert_eq!(variable("a.b.c_d"), "OPENORDER_A_B_C_D");
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (left, right, expected) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["order.listen_address", "payment.listen_address"];
        assert_eq!(nearest("order.listen_adress", known), Some("order.listen_address"));
        assert_eq!(nearest("payments.listen_address", known), Some("payment.listen_address"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("colour", []), None);
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for name in [
            "OPENORDER_CONFIG",
            "OPENORDER_FAULT_INJECTION",
            "OPENORDER_FAULT_POINTS",
            "OPENORDER_STACK",
            "OPENORDER_SMTP_URL",
            "OPENORDER_MAIL_URL",
            "OPENORDER_DATA_DIR",
            "OPENORDER_DEV_KEEP",
            "OPENORDER_POSTGRES_URL",
            "OPENORDER_KAFKA_PORT",
        ] {
            assert!(is_others(name), "{name}");
        }
        assert!(!is_others("OPENORDER_ORDER_LISTEN_ADRESS"));
    }
}
