//! What a customer reads: one template a kind, long for mail, short for telephone and app.

use std::fmt::Write as _;

use crate::domain::{Channel, Kind, Notice};

/// Longest subject, in characters.
pub const SUBJECT_LENGTH_MAX: usize = 200;
/// Longest text, in characters.
pub const BODY_LENGTH_MAX: usize = 10_000;

/// Longest text of a text message or a message in the app, in characters: two concatenated text messages of characters
/// outside GSM's own alphabet hold 134.
pub const SHORT_BODY_LENGTH_MAX: usize = 134;

/// Lines of an order that are listed; the rest is counted.
const LINES_MAX: usize = 50;
/// Longest product name in a text, in characters.
const NAME_LENGTH_MAX: usize = 80;
/// Longest explanation in a text, in characters.
const DETAIL_LENGTH_MAX: usize = 500;

/// A rendered notification. It names no address, so it may be shown to whoever may see the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One line, at most [`SUBJECT_LENGTH_MAX`] characters; empty for a text message.
    pub subject: String,
    /// At most [`BODY_LENGTH_MAX`] characters for mail, [`SHORT_BODY_LENGTH_MAX`] for the others.
    pub body: String,
}

/// The words of a kind.
struct Words {
    /// After "Your order".
    subject: &'static str,
    opening: &'static str,
}

const fn words(kind: Kind) -> Words {
    match kind {
        Kind::OrderPaid => Words {
            subject: "is paid",
            opening: "Thank you: your payment has arrived, and we are preparing your order.",
        },
        Kind::OrderShipped => Words { subject: "is on its way", opening: "Your order has been handed to the carrier." },
        Kind::OrderDelivered => {
            Words { subject: "was delivered", opening: "Your order has been delivered. We hope you enjoy it." }
        }
        Kind::OrderCancelled => Words {
            subject: "was cancelled",
            opening: "Your order was cancelled. Anything you paid for it is given back.",
        },
        Kind::OrderRejected => Words {
            subject: "cannot be fulfilled",
            opening: "We are sorry: we cannot fulfil your order. You were not charged for it.",
        },
    }
}

/// Renders the message to the customer.
#[must_use]
pub fn render(notice: &Notice, channel: Channel) -> Message {
    match channel {
        Channel::Email => mail(notice),
        Channel::Sms => Message { subject: String::new(), body: short(notice) },
        Channel::Push => Message { subject: format!("Your order {}", words(notice.kind).subject), body: short(notice) },
    }
}

fn mail(notice: &Notice) -> Message {
    let order = notice.order_id;
    let Words { subject, opening } = words(notice.kind);
    let mut body = format!("Hello {},\n\n{opening}\n", notice.user_id);
    if let Some(why) = explanation(notice) {
        push(&mut body, format_args!("\nWhy: {why}\n"));
    }
    push(&mut body, format_args!("\nOrder {order}\n"));
    list_lines(&mut body, notice);
    if let Some(total) = &notice.total {
        push(&mut body, format_args!("Total: {total}\n"));
    }
    body.push_str("\nYou can choose what we tell you in your notification preferences.\n");
    // What happened comes first: mail programs show the beginning.
    Message { subject: format!("Your order {subject} ({order})"), body }
}

/// One line: which order, what happened, how much or why.
fn short(notice: &Notice) -> String {
    let mut text = format!("Your order {} {}.", notice.order_id, words(notice.kind).subject);
    match (explanation(notice), &notice.total) {
        (Some(why), _) => push(&mut text, format_args!(" Why: {why}")),
        (None, Some(total)) => push(&mut text, format_args!(" Total: {total}.")),
        (None, None) => {}
    }
    one_line(&text, SHORT_BODY_LENGTH_MAX)
}

fn list_lines(body: &mut String, notice: &Notice) {
    for line in notice.lines.iter().take(LINES_MAX) {
        let name = one_line(&line.display_name, NAME_LENGTH_MAX);
        push(body, format_args!("  {} x {name}", line.quantity));
        if let Some(total) = &line.line_total {
            push(body, format_args!(": {total}"));
        }
        body.push('\n');
    }
    if let Some(more) = notice.lines.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        push(body, format_args!("  and {more} more\n"));
    }
}

/// Only an order that came to nothing needs to be explained. Words that this version does not know are explained
/// by the order service's own sentence.
fn explanation(notice: &Notice) -> Option<String> {
    if !matches!(notice.kind, Kind::OrderCancelled | Kind::OrderRejected) {
        return None;
    }
    let known = match notice.reason.as_str() {
        "CANCELLED_BY_CUSTOMER" => "you called it off.",
        "CANCELLED_BY_OPERATOR" => "our staff called it off.",
        "INSUFFICIENT_BALANCE" => "your wallet does not hold enough money.",
        "WALLET_NOT_FOUND" => "you have no wallet to pay from.",
        "CURRENCY_MISMATCH" => "your wallet is in another currency than the order.",
        "PAYMENT_TIMED_OUT" => "the payment took too long.",
        "OUT_OF_STOCK" => "not everything that you ordered is in stock.",
        "UNKNOWN_SKU" => "something that you ordered is not on sale any more.",
        "RESERVATION_EXPIRED" | "RESERVATION_TIMED_OUT" => "the goods could not be held for you in time.",
        _ => {
            let detail = one_line(&notice.detail, DETAIL_LENGTH_MAX);
            return (!detail.is_empty()).then_some(detail);
        }
    };
    Some(known.to_owned())
}

/// The text on one line: it may come from whoever made the order, and must not look like another part of the mail.
fn one_line(text: &str, length_max: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= length_max {
        return line;
    }
    let kept: String = line.chars().take(length_max.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn push(body: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = body.write_fmt(text);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_types::{Currency, Money, UserId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{ChannelIds, NoticeLine};

    fn notice(kind: Kind) -> Notice {
        let eur = Currency::parse("EUR").unwrap();
        Notice {
            notification_ids: ChannelIds { email: Uuid::nil(), sms: Uuid::nil(), push: Uuid::nil() },
            order_id: Uuid::from_u128(7),
            user_id: UserId::parse("ada").unwrap(),
            recipient: None,
            kind,
            total: Some(Money::new(2_598, eur)),
            lines: vec![NoticeLine {
                display_name: "Keyboard".to_owned(),
                quantity: 2,
                line_total: Some(Money::new(2_598, eur)),
            }],
            reason: String::new(),
            detail: String::new(),
        }
    }

    #[test]
    fn a_paid_order_is_confirmed_with_what_was_bought() {
        let message = render(&notice(Kind::OrderPaid), Channel::Email);
        assert_eq!(message.subject, "Your order is paid (00000000-0000-0000-0000-000000000007)");
        assert_eq!(
            message.body,
            "Hello ada,\n\n\
             Thank you: your payment has arrived, and we are preparing your order.\n\n\
             Order 00000000-0000-0000-0000-000000000007\n\
             \x20 2 x Keyboard: 25.98 EUR\n\
             Total: 25.98 EUR\n\n\
             You can choose what we tell you in your notification preferences.\n"
        );
    }

    #[test]
    fn a_telephone_and_an_app_show_one_line() {
        let sms = render(&notice(Kind::OrderPaid), Channel::Sms);
        let line = "Your order 00000000-0000-0000-0000-000000000007 is paid. Total: 25.98 EUR.";
        assert_eq!((sms.subject.as_str(), sms.body.as_str()), ("", line));
        let push = render(&notice(Kind::OrderPaid), Channel::Push);
        assert_eq!((push.subject.as_str(), push.body.as_str()), ("Your order is paid", line));
        let refused = Notice { reason: "OUT_OF_STOCK".to_owned(), ..notice(Kind::OrderRejected) };
        let text = render(&refused, Channel::Sms).body;
        assert!(text.ends_with("cannot be fulfilled. Why: not everything that you ordered is in stock."), "{text}");
    }

    #[test]
    fn every_kind_has_a_subject_of_its_own() {
        let mut subjects: Vec<String> =
            Kind::ALL.iter().map(|kind| render(&notice(*kind), Channel::Email).subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        assert_eq!(subjects.len(), Kind::ALL.len());
    }

    #[test]
    fn only_an_order_that_came_to_nothing_is_explained() {
        for kind in Kind::ALL {
            let mut notice = notice(*kind);
            notice.reason = "OUT_OF_STOCK".to_owned();
            let explained =
                render(&notice, Channel::Email).body.contains("Why: not everything that you ordered is in stock.");
            assert_eq!(explained, matches!(kind, Kind::OrderCancelled | Kind::OrderRejected), "{kind:?}");
        }
    }

    #[test]
    fn a_reason_of_tomorrow_is_explained_by_its_own_sentence() {
        let mut notice = notice(Kind::OrderCancelled);
        notice.reason = "SOMETHING_NEW".to_owned();
        assert!(!render(&notice, Channel::Email).body.contains("Why:"));
        notice.detail = "The moon\r\nis full\u{7}".to_owned();
        assert!(render(&notice, Channel::Email).body.contains("\nWhy: The moon is full\n"));
    }

    proptest! {
        #[test]
        fn no_text_of_others_breaks_the_form(names in proptest::collection::vec(any::<String>(), 0..100), detail: String) {
            let mut notice = notice(Kind::OrderRejected);
            notice.detail = detail;
            notice.lines = names.into_iter().map(|display_name| NoticeLine { display_name, quantity: 1_000_000, line_total: notice.total }).collect();
            let message = render(&notice, Channel::Email);
            prop_assert!(message.subject.chars().count() <= SUBJECT_LENGTH_MAX);
            prop_assert!(message.body.chars().count() <= BODY_LENGTH_MAX);
            prop_assert!(!message.subject.chars().any(char::is_control));
            prop_assert!(!message.body.chars().any(|c| c.is_control() && c != '\n'));
            // Each listed line is one line: nobody can write a paragraph of ours.
            let listed = message.body.lines().filter(|line| line.starts_with("  1000000 x ")).count();
            prop_assert_eq!(listed, notice.lines.len().min(50));
            prop_assert_eq!(message.body.matches("\nTotal: ").count(), 1);
            let short = render(&notice, Channel::Sms).body;
            prop_assert!(short.chars().count() <= SHORT_BODY_LENGTH_MAX && !short.chars().any(char::is_control));
        }

        #[test]
        fn long_names_fit(length in 1_usize..2_000, lines in 1_usize..=100) {
            let mut notice = notice(Kind::OrderPaid);
            let line = NoticeLine { display_name: "é".repeat(length), quantity: 1, line_total: notice.total };
            notice.lines = vec![line; lines];
            prop_assert!(render(&notice, Channel::Email).body.chars().count() <= BODY_LENGTH_MAX);
        }
    }
}
