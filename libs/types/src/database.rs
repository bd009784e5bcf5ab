//! What an error of PostgreSQL means to the runners, and how a currency is written; with the feature `sqlx`.

use sqlx::{
    Encode, Error, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo},
};

use crate::{CallError, Currency, Fault};

/// Name of the dependency in faults, readiness and metrics.
pub const POSTGRES: &str = "postgres";

/// Name of the same, where it answers and a statement still ran into a time limit: a lock of a migration, a disk that
/// is slow, or one piece of work that is too large.
pub const POSTGRES_IN_TIME: &str = "postgres-in-time";

/// Another transaction was in the way.
const CONFLICT: &str = "DATABASE_CONFLICT";
/// The database does not take what the work wants to write.
const REFUSED: &str = "DATABASE_REFUSED";

impl From<Error> for Fault {
    /// An outage waits, a retryable error is tried again, all else is permanent.
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match &error {
            Error::Database(database) => match database.code().as_deref() {
                Some(code) => classify(code, detail),
                None => Self::permanent(detail).because(REFUSED),
            },
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed => Self::Outage { dependency: POSTGRES, detail },
            _ => Self::permanent(detail).because("STORED_VALUE_UNREADABLE"),
        }
    }
}

impl From<Error> for CallError {
    /// As the [`Fault`] that it is.
    fn from(error: Error) -> Self {
        Fault::from(error).into()
    }
}

/// Whether a statement ran into a time limit.
#[must_use]
pub fn is_timeout(fault: &Fault) -> bool {
    matches!(fault, Fault::Outage { dependency: POSTGRES_IN_TIME, .. })
}

/// By SQLSTATE (PostgreSQL, appendix A).
fn classify(code: &str, detail: String) -> Fault {
    match code {
        // A unique key that another transaction took meanwhile: on the next try the decision sees the other's row.
        "23505" => Fault::retryable(detail).because(CONFLICT),
        // statement_timeout, lock_timeout, and an operator who cancelled the statement.
        "57014" | "55P03" => Fault::outage(POSTGRES_IN_TIME, detail),
        // Read-only: a standby, or a disk that is full. 55000: a database that accepts no connections; no statement
        // of ours is out of sequence otherwise. 25P03: the server ended a transaction that was idle too long,
        // because this process was.
        "25006" | "55000" | "25P03" => Fault::outage(POSTGRES, detail),
        _ => match code.get(..2) {
            // Serialization failures and deadlocks.
            Some("40") => Fault::retryable(detail).because(CONFLICT),
            // Connections, resources, the operator, the system; 28 and 3D: the server refuses this service or its
            // database. All are reported at connecting, and none is the work's doing.
            Some("08" | "28" | "3D" | "53" | "57" | "58") => Fault::outage(POSTGRES, detail),
            _ => Fault::permanent(detail).because(REFUSED),
        },
    }
}

impl Type<Postgres> for Currency {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Currency {
    fn array_type_info() -> PgTypeInfo {
        <&str>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Currency {
    /// As its code.
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&str as Encode<'_, Postgres>>::encode_by_ref(&self.as_str(), buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_is_an_outage_and_a_deadlock_is_retried() {
        let outage = Fault::from(Error::PoolTimedOut);
        assert!(matches!(outage, Fault::Outage { dependency: POSTGRES, .. }));
        assert!(matches!(classify("57P01", String::new()), Fault::Outage { .. }));
        for refused in ["25006", "28P01", "3D000", "55000", "25P03"] {
            assert!(matches!(classify(refused, String::new()), Fault::Outage { .. }), "{refused}");
        }
        assert!(matches!(classify("40P01", String::new()), Fault::Retryable { .. }));
        for late in ["57014", "55P03"] {
            assert!(is_timeout(&classify(late, String::new())), "{late}");
        }
        assert!(!is_timeout(&outage));
        assert!(matches!(classify("22003", String::new()), Fault::Permanent { .. }));
    }
}
