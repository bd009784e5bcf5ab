//! What to look at when an invariant is violated.

use super::report::Invariant;

/// The next step of an operator for a reason; ID stands for the id that the violation names.
pub(super) fn next(invariant: Invariant, reason: &str) -> &'static str {
    match reason {
        "DEAD_LETTERED" => {
            "openorder dlq list --by-cause says what is wrong; mended, openorder dlq replay gives it back"
        }
        "COMPENSATION_FAILED" => "RetryCompensation asks again, SettleCompensation ends it: docs/sagas.md",
        "DEADLINE_MISSED" | "NEVER_SETTLED" => {
            "openorder health says who stands still; openorder order get ID --timeline where the order does"
        }
        "NOT_PUBLISHED" => "openorder health shows UNPUBLISHED events; openorder logs SERVICE says why its relay waits",
        "NOT_IN_TOPIC" | "TOPIC_GAP" => {
            "was the topic cut or made anew? openorder replay --from SERVICE --to GROUP gives the events of the log again"
        }
        "NOT_IN_INBOX" => {
            "openorder lag and openorder dlq list say whether it waits or is dead; else openorder replay --from SERVICE --to \
             GROUP gives it again"
        }
        "RESERVATION_MISSING" | "PAYMENT_MISSING" | "NOTIFICATION_MISSING" => {
            "openorder dlq list, openorder parked and openorder lag say whether its event waits somewhere; else openorder \
             replay --from order --to GROUP gives it again"
        }
        "ORDER_COUNT_DIFFERS" | "SALES_DIFFER" => {
            "openorder lag, openorder parked and openorder dlq list, each with --group analytics, say whether events wait; else \
             openorder rebuild analytics --from-events counts all orders anew"
        }
        "CHECKOUT_NOT_NOTED" => {
            "openorder dlq list and openorder lag --group cart say whether its event waits or is dead; else openorder replay \
             --from order --to cart gives it again"
        }
        "VIEW_MISSING" | "VIEW_DISAGREES" | "VIEW_WITHOUT_ORDER" => {
            "openorder lag and openorder dlq list say whether an event waits or is dead; else openorder rebuild history makes \
             the documents anew"
        }
        _ => of_invariant(invariant),
    }
}

fn of_invariant(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::Orders | Invariant::Agreement | Invariant::Checkouts => {
            "openorder order get ID --timeline shows what happened and its trace; openorder audit whether somebody changed it"
        }
        Invariant::Stock => {
            "ListReservationMismatches lists what is held for orders that do not need it (docs/sagas.md); a sum that stays \
             wrong is a fault: keep databases and topics, and report it with this output"
        }
        Invariant::Money => {
            "openorder topic tail payment.wallet.v1 --key USER shows what moved; a sum that stays wrong is a fault: keep \
             databases and topics, and report it with this output"
        }
        Invariant::Sales => {
            "openorder rebuild analytics --from-events counts all orders anew; a sum that stays wrong is a fault: keep \
             databases and topics, and report it with this output"
        }
        Invariant::Versions | Invariant::State => {
            "was a database changed by hand, or restored from a backup? else this is a fault: keep databases and topics, and \
             report it with this output"
        }
    }
}
