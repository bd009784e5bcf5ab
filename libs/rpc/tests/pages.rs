//! Pages that end by their bytes, and questions that are asked in parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![expect(clippy::disallowed_methods, reason = "a foreign server's refusals")]

use openorder_rpc::status::is_answer_too_large;
use openorder_rpc::{CallContext, PageBytes, PageTokens, Refusal, ask_in_parts};
use openorder_telemetry::TraceContext;
use openorder_types::CallError;
use tonic::Status;

/// Pages of strings, read to their end; the number of items of each page.
fn pages(tokens: &PageTokens, all: &[String], size: u32) -> Vec<usize> {
    let call = CallContext::of_service("order", TraceContext::NONE);
    let (mut token, mut sizes, mut seen) = (String::new(), Vec::new(), Vec::new());
    loop {
        let list = tokens.open_by("orders", &call, Vec::new(), &token).unwrap();
        let from = list.cursor().map_or(0, |cursor| usize::from_be_bytes(cursor.try_into().unwrap()) + 1);
        let rows: Vec<(usize, String)> = all.iter().cloned().enumerate().skip(from).take(size as usize + 1).collect();
        let (items, next_page_token) = list.page(size, &rows, |row| row.1.clone(), |row| row.0.to_be_bytes());
        sizes.push(items.len());
        seen.extend(items);
        if next_page_token.is_empty() {
            assert_eq!(seen, all);
            return sizes;
        }
        token = next_page_token;
        assert!(sizes.len() <= all.len(), "no end");
    }
}

#[test]
fn a_page_ends_by_its_items_or_its_bytes_and_nothing_is_left_out() {
    let bytes = PageBytes { page_max: 100, batch_max: 100 };
    let tokens = PageTokens::new(b"secret").with_bytes(bytes);
    let items = |lengths: &[usize]| lengths.iter().map(|length| "x".repeat(*length)).collect::<Vec<_>>();
    assert_eq!(pages(&tokens, &[], 10), [0]);
    assert_eq!(pages(&tokens, &items(&[1; 5]), 2), [2, 2, 1]);
    assert_eq!(pages(&tokens, &items(&[40; 5]), 10), [2, 2, 1]);
    assert_eq!(pages(&tokens, &items(&[40, 40]), 2), [2], "the last page has no token");
    // One that is larger than a page comes, alone.
    assert_eq!(pages(&tokens, &items(&[1, 500, 1, 500]), 10), [1, 1, 1, 1]);
}

#[test]
fn a_batch_is_whole_or_refused() {
    let bytes = PageBytes { page_max: 10, batch_max: 100 };
    let tokens = PageTokens::new(b"secret").with_bytes(bytes);
    let items = |number| vec!["x".repeat(40); number];
    assert_eq!(tokens.batch(&items(2), Clone::clone).unwrap().len(), 2);
    let refused = tokens.batch(&items(3), Clone::clone).unwrap_err();
    assert!(matches!(refused, CallError::Rejected(no) if no.reason == "ANSWER_TOO_LARGE"));
    assert_eq!(tokens.batch(&["x".repeat(500)], Clone::clone).unwrap().len(), 1, "smaller it cannot be asked for");
}

#[tokio::test]
async fn a_part_that_is_too_large_is_asked_for_in_halves() {
    let items: Vec<usize> = (0..100).collect();
    let mut asked = Vec::new();
    let answers = ask_in_parts(&items, 40, |part| {
        asked.push(part.len());
        let answer = match part.len() {
            0..=20 => Ok(part.to_vec()),
            // As a service says it, and as tonic's client does.
            21..=30 => Err(Refusal::answer_too_large(1)),
            _ => Err(Status::out_of_range(
                "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
            )),
        };
        std::future::ready(answer)
    });
    assert_eq!(answers.await.unwrap().concat(), items);
    assert_eq!(asked, [40, 20, 20, 40, 20, 20, 20]);
}

#[tokio::test]
async fn what_halving_does_not_mend_is_an_error() {
    let one = ask_in_parts(&[1], 10, |_| std::future::ready(Err::<(), _>(Refusal::answer_too_large(1))));
    assert!(is_answer_too_large(&one.await.unwrap_err()));
    let mut asked = 0;
    let away = ask_in_parts(&[1, 2], 10, |_| {
        asked += 1;
        std::future::ready(Err::<(), _>(Status::unavailable("away")))
    });
    assert!(!is_answer_too_large(&away.await.unwrap_err()));
    assert_eq!(asked, 1);
}
