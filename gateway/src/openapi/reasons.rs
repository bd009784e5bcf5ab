//! The reasons of refusals, out of the comments of methods: `Reasons: A, B (CODE: in words), C (OTHER_CODE).`

use std::collections::BTreeMap;

use openorder_rpc::status::web::http_status_of_name;

/// The names of reasons by the name of their code, in the order of the comment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reasons(pub(super) BTreeMap<String, Vec<String>>);

/// The reasons that a comment names; `of_method` has the comment of another method of the service.
pub(super) fn reasons(comment: &str, of_method: &dyn Fn(&str) -> Option<String>) -> Reasons {
    let mut reasons = Reasons::default();
    for (index, _) in comment.match_indices("Reason") {
        // Also of several sentences, as where an aside stands between them.
        let Some((heading, list)) = comment[index..].split_once(':') else { continue };
        let heading = heading.trim_start_matches("Reasons").trim_start_matches("Reason").trim();
        let code = heading.strip_prefix('(').and_then(|heading| heading.strip_suffix(')')).filter(|code| is_code(code));
        if !heading.is_empty() && code.is_none() {
            continue;
        }
        let list = list.split("Reason").next().unwrap_or_default();
        if let Some(method) = list.trim().strip_prefix("as ")
            && let Some(other) = of_method(method.trim_end_matches('.').trim())
        {
            reasons.extend(self::reasons(&other, &|_| None));
            continue;
        }
        reasons.read(list, code);
    }
    reasons
}

impl Reasons {
    fn extend(&mut self, other: Self) {
        for (code, names) in other.0 {
            self.0.entry(code).or_default().extend(names);
        }
    }

    fn read(&mut self, list: &str, code: Option<&str>) {
        let mut waiting: Vec<String> = Vec::new();
        let mut rest = list;
        while let Some(at) = rest.find(|letter: char| letter.is_ascii_uppercase() || letter == '(') {
            rest = &rest[at..];
            if let Some(aside) = rest.strip_prefix('(') {
                let (inside, after) = split_aside(aside);
                let name = inside.split([':', ' ', ',']).next().unwrap_or_default();
                if is_code(name) {
                    self.0.entry(name.to_owned()).or_default().append(&mut waiting);
                }
                rest = after;
                continue;
            }
            let end = rest.find(|letter: char| !is_of_name(letter)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.len() > 2 && name.contains('_') && !is_code(name) {
                waiting.push(name.to_owned());
            }
            rest = after;
        }
        if let Some(code) = code.filter(|_| !waiting.is_empty()) {
            self.0.entry(code.to_owned()).or_default().append(&mut waiting);
        }
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_' || letter.is_ascii_lowercase()
}

fn is_code(name: &str) -> bool {
    http_status_of_name(name).is_some()
}

/// What stands in parentheses, and what comes behind them.
fn split_aside(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (index, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[..index], &text[index + 1..]);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(comment: &str) -> Vec<(String, Vec<String>)> {
        let other = |method: &str| (method == "Other").then(|| "Reason: A_B (NOT_FOUND).".to_owned());
        reasons(comment, &other).0.into_iter().collect()
    }

    fn expected(all: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        all.iter().map(|(code, names)| ((*code).to_owned(), owned(names))).collect()
    }

    #[test]
    fn reasons_are_read_with_their_codes() {
        let one = read("Returns one order. Reason: ORDER_NOT_FOUND (NOT_FOUND).");
        assert_eq!(one, expected(&[("NOT_FOUND", &["ORDER_NOT_FOUND"])]));
        assert_eq!(
            read("Reasons: SKU_TAKEN, REQUEST_ID_REUSED (ALREADY_EXISTS), field violations (INVALID_ARGUMENT)."),
            expected(&[("ALREADY_EXISTS", &["SKU_TAKEN", "REQUEST_ID_REUSED"]), ("INVALID_ARGUMENT", &[])])
        );
        assert_eq!(
            read(
                "Reasons: UNKNOWN_SKU and the coupon's (FAILED_PRECONDITION: in\none mode (MODE_X) only), A_B (NOT_FOUND)."
            ),
            expected(&[("FAILED_PRECONDITION", &["UNKNOWN_SKU"]), ("NOT_FOUND", &["A_B"])])
        );
        assert_eq!(
            read("Reasons (FAILED_PRECONDITION): SET_EMPTY, IN_REPLAY (a letter is in another one)."),
            expected(&[("FAILED_PRECONDITION", &["SET_EMPTY", "IN_REPLAY"])])
        );
        assert_eq!(read("Reasons: as Other."), expected(&[("NOT_FOUND", &["A_B"])]));
        assert_eq!(read("Nothing can go wrong."), expected(&[]));
        assert_eq!(read("The Reason is told elsewhere (A_B)."), expected(&[]));
    }
}
