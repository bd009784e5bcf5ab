//! Paths of `google.api.http`: their templates, and what of a request's path stands for which field.
//!
//! ```text
//! Template = "/" Segments [ Verb ] ;
//! Segments = Segment { "/" Segment } ;
//! Segment  = "*" | "**" | LITERAL | Variable ;
//! Variable = "{" FieldPath [ "=" Segments ] "}" ;
//! Verb     = ":" LITERAL ;
//! ```

use std::fmt;

use anyhow::{Context, bail, ensure};

/// A path that is called, with places for fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Vec<Segment>,
    verb: Option<String>,
    variables: Vec<Variable>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// Any one.
    One,
    /// Any number, at the end alone.
    Rest,
}

/// Segments that stand for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    /// The field's path in the request, such as `product.product_id`.
    field: String,
    first: usize,
    /// Behind its last segment; none where it goes to the end.
    end: Option<usize>,
    /// Whether it may be of more than one segment: `%2F` in it is no slash then.
    is_multiple: bool,
}

/// A segment of a path that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

impl Template {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        Self::parsed(text).with_context(|| format!("the path {text:?}"))
    }

    fn parsed(text: &str) -> anyhow::Result<Self> {
        let rest = text.strip_prefix('/').context("it must begin with a slash")?;
        let (rest, verb) = match rest.rsplit_once(':') {
            Some((rest, verb)) if !verb.contains(['/', '}']) => (rest, Some(verb.to_owned())),
            _ => (rest, None),
        };
        ensure!(verb.as_deref().is_none_or(is_literal), "its verb is no word");
        let mut template = Self { segments: Vec::new(), verb, variables: Vec::new() };
        let mut rest = rest;
        loop {
            let (segment, after) = first_segment(rest)?;
            template.add(segment)?;
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        let is_inside = template.segments.iter().rev().skip(1).any(|segment| *segment == Segment::Rest);
        ensure!(!is_inside, "** may stand at its end alone");
        Ok(template)
    }

    fn add(&mut self, text: &str) -> anyhow::Result<()> {
        let Some(variable) = text.strip_prefix('{') else { return self.add_plain(text) };
        let variable = variable.strip_suffix('}').context("a brace is not closed")?;
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        ensure!(field.split('.').all(is_name), "{field:?} is no path of a field");
        ensure!(self.variables.iter().all(|other| other.field != field), "{field} stands in it twice");
        let first = self.segments.len();
        for segment in pattern.split('/') {
            self.add_plain(segment)?;
        }
        let is_rest = self.segments.last() == Some(&Segment::Rest);
        self.variables.push(Variable {
            field: field.to_owned(),
            first,
            end: (!is_rest).then_some(self.segments.len()),
            is_multiple: is_rest || self.segments.len() - first > 1,
        });
        Ok(())
    }

    fn add_plain(&mut self, text: &str) -> anyhow::Result<()> {
        self.segments.push(match text {
            "*" => Segment::One,
            "**" => Segment::Rest,
            literal if is_literal(literal) => Segment::Literal(literal.to_owned()),
            other => bail!("{other:?} is no segment"),
        });
        Ok(())
    }

    pub(crate) fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// The paths of the fields that it has places for.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// The number of segments of all paths that it matches; none where they differ.
    pub(crate) fn length(&self) -> Option<usize> {
        (self.segments.last() != Some(&Segment::Rest)).then_some(self.segments.len())
    }

    /// Whether the segments of a path, without its verb, are what it says.
    pub(crate) fn matches(&self, path: &[&str]) -> bool {
        let is_open = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(is_open);
        if path.len() < fixed || (path.len() > fixed && !is_open) {
            return false;
        }
        // An empty segment is none: it would be an id that says nothing.
        path.iter().all(|segment| !segment.is_empty())
            && self.segments.iter().zip(path).all(|(segment, text)| match segment {
                Segment::Literal(literal) => literal == text,
                Segment::One | Segment::Rest => true,
            })
    }

    /// The fields of a path that it matches, each with its text.
    pub(crate) fn values(&self, path: &[&str]) -> Result<Vec<(&str, String)>, (&str, Undecodable)> {
        let value = |variable: &Variable| {
            let segments = path.get(variable.first..variable.end.unwrap_or(path.len())).unwrap_or_default();
            decoded(&segments.join("/"), variable.is_multiple)
        };
        let values = self.variables.iter().map(|variable| match value(variable) {
            Ok(text) => Ok((variable.field.as_str(), text)),
            Err(error) => Err((variable.field.as_str(), error)),
        });
        values.collect()
    }

    /// Whether some path is matched by both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        if self.verb != other.verb {
            return false;
        }
        let fixed = |template: &Self| template.segments.iter().filter(|segment| **segment != Segment::Rest).count();
        let is_open = |template: &Self| template.segments.last() == Some(&Segment::Rest);
        let lengths_meet = match (is_open(self), is_open(other)) {
            (false, false) => fixed(self) == fixed(other),
            (true, false) => fixed(self) <= fixed(other),
            (false, true) => fixed(other) <= fixed(self),
            (true, true) => true,
        };
        lengths_meet
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(two)) => one == two,
                _ => true,
            })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = 0;
        while next < self.segments.len() {
            formatter.write_str("/")?;
            match self.variables.iter().find(|variable| variable.first == next) {
                Some(variable) => {
                    write!(formatter, "{{{}}}", variable.field)?;
                    next = variable.end.unwrap_or(self.segments.len());
                }
                None => {
                    match &self.segments[next] {
                        Segment::Literal(literal) => formatter.write_str(literal)?,
                        Segment::One => formatter.write_str("*")?,
                        Segment::Rest => formatter.write_str("**")?,
                    }
                    next += 1;
                }
            }
        }
        match &self.verb {
            Some(verb) => write!(formatter, ":{verb}"),
            None => Ok(()),
        }
    }
}

/// The first segment of a template, and what comes behind its slash. A variable may have slashes in it.
fn first_segment(text: &str) -> anyhow::Result<(&str, Option<&str>)> {
    let end = match text.strip_prefix('{') {
        Some(variable) => variable.find('}').context("a brace is not closed")? + 2,
        None => text.find('/').unwrap_or(text.len()),
    };
    let (segment, rest) = text.split_at(end);
    match rest.strip_prefix('/') {
        Some(rest) => Ok((segment, Some(rest))),
        None if rest.is_empty() => Ok((segment, None)),
        None => bail!("behind a variable there must be a slash"),
    }
}

fn is_literal(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~'))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A text without its percent-encoding (RFC 3986, section 2.1). With `keeps_slashes`, `%2F` stays as it is: it would be
/// taken for a slash between segments (`google/api/http.proto`).
pub(crate) fn decoded(text: &str, keeps_slashes: bool) -> Result<String, Undecodable> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>().ok_or(Undecodable)?;
        let byte = hex(digits[0]).zip(hex(digits[1])).map(|(high, low)| high * 16 + low).ok_or(Undecodable)?;
        match byte {
            b'/' if keeps_slashes => bytes.extend([b'%', digits[0], digits[1]]),
            byte => bytes.push(byte),
        }
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| Undecodable)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn values(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let segments: Vec<_> = path.split('/').skip(1).collect();
        let found = template.matches(&segments).then(|| template.values(&segments).unwrap());
        Some(found?.into_iter().map(|(field, text)| (field.to_owned(), text)).collect())
    }

    fn one(field: &str, text: &str) -> Option<Vec<(String, String)>> {
        Some(vec![(field.to_owned(), text.to_owned())])
    }

    #[test]
    fn segments_stand_for_fields() {
        assert_eq!(values("/v1/orders", "/v1/orders"), Some(Vec::new()));
        assert_eq!(values("/v1/orders/{order_id}", "/v1/orders/7"), one("order_id", "7"));
        assert_eq!(values("/v1/orders/{order_id}/timeline", "/v1/orders/7/timeline"), one("order_id", "7"));
        assert_eq!(values("/v1/products/{product.product_id}", "/v1/products/a"), one("product.product_id", "a"));
        assert_eq!(values("/v1/{name=letters/*}", "/v1/letters/9"), one("name", "letters/9"));
        assert_eq!(values("/v1/letters/{id=*/*}", "/v1/letters/order/9"), one("id", "order/9"));
        assert_eq!(values("/v1/files/{path=**}", "/v1/files/a/b/c"), one("path", "a/b/c"));
        assert_eq!(values("/v1/files/{path=**}", "/v1/files"), one("path", ""));
        for (template, other) in [
            ("/v1/orders", "/v1/orders/"),
            ("/v1/orders", "/v1/order"),
            ("/v1/orders/{order_id}", "/v1/orders"),
            ("/v1/orders/{order_id}", "/v1/orders/"),
            ("/v1/orders/{order_id}", "/v1/orders/7/8"),
            ("/v1/orders/{order_id}/timeline", "/v1/orders//timeline"),
            ("/v1/letters/{id=*/*}", "/v1/letters/9"),
            ("/v1/{name=letters/*}", "/v1/orders/9"),
        ] {
            assert_eq!(values(template, other), None, "{template} {other}");
        }
    }

    /// The rules of `google/api/http.proto`: one segment is decoded as a whole, in several `%2F` is no slash.
    #[test]
    fn an_encoded_slash_is_a_slash_in_one_segment_and_stays_encoded_in_several() {
        assert_eq!(values("/v1/{id}", "/v1/a%2Fb"), one("id", "a/b"));
        assert_eq!(values("/v1/{id}", "/v1/a%2fb%20c"), one("id", "a/b c"));
        assert_eq!(values("/v1/{id=*}", "/v1/a%2Fb"), one("id", "a/b"));
        assert_eq!(values("/v1/{id=**}", "/v1/a%2Fb/%20"), one("id", "a%2Fb/ "));
        assert_eq!(values("/v1/{id=*/*}", "/v1/a%2fb/c%3A"), one("id", "a%2fb/c:"));
        assert_eq!(values("/v1/{id}", "/v1/%C3%A9+"), one("id", "é+"));
        for wrong in ["%", "%2", "%zz", "%ff", "%C3"] {
            let template = template("/v1/{id}");
            assert_eq!(template.values(&["v1", wrong]), Err(("id", Undecodable)), "{wrong}");
        }
    }

    #[test]
    fn a_verb_belongs_to_no_segment() {
        let cancel = template("/v1/orders/{order_id}:cancel");
        assert_eq!((cancel.verb(), cancel.segments.len()), (Some("cancel"), 3));
        let letters = template("/v1/letters/{id=*/*}:replay");
        assert_eq!((letters.verb(), letters.segments.len()), (Some("replay"), 4));
        assert_eq!(template("/v1/orders:batchGet").verb(), Some("batchGet"));
        assert_eq!(template("/v1/orders/{order_id}").verb(), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            "v1",
            "/",
            "/v1//x",
            "/v1/{",
            "/v1/{}",
            "/v1/{a=}",
            "/v1/{a}b",
            "/v1/a*",
            "/v1/**/x",
            "/v1/{a=**}/x",
            "/v1/{a}/{a}",
            "/v1/{a..b}",
            "/v1/x:",
            "/v1/x:y z",
            "/v1/{a b}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn two_that_match_one_path_are_seen() {
        let overlap = |one, two| {
            let (one, two) = (template(one), template(two));
            assert_eq!(one.overlaps(&two), two.overlaps(&one));
            one.overlaps(&two)
        };
        assert!(overlap("/v1/orders/{order_id}", "/v1/orders/latest"));
        assert!(overlap("/v1/{a}/x", "/v1/y/{b}"));
        assert!(overlap("/v1/{a=**}", "/v1/x/y"));
        assert!(overlap("/v1/{a=**}", "/v1/{b=**}"));
        assert!(!overlap("/v1/orders/{order_id}", "/v1/orders/{order_id}:cancel"));
        assert!(!overlap("/v1/orders/{order_id}", "/v1/products/{product_id}"));
        assert!(!overlap("/v1/orders", "/v1/orders/{order_id}"));
        assert!(!overlap("/v1/x/{a=**}", "/v1/y/z"));
    }

    #[test]
    fn it_is_written_with_its_fields() {
        for text in ["/v1/orders/{order_id}:cancel", "/v1/orders", "/v1/*/x", "/v1/a/**"] {
            assert_eq!(template(text).to_string(), text);
        }
        assert_eq!(template("/v1/letters/{id=*/*}/x").to_string(), "/v1/letters/{id}/x");
    }

    proptest! {
        #[test]
        fn no_path_breaks_it(path in "(/[a-z%0-9:{}*]{0,9}){0,6}", text in "[/{}=*:a-z.]{0,30}") {
            let segments: Vec<_> = path.split('/').skip(1).collect();
            let templates = [text.as_str(), "/v1/{a=*/*}/{b.c}", "/{a=**}"].map(Template::parse);
            for template in templates.iter().flatten() {
                if template.matches(&segments) {
                    drop(template.values(&segments));
                }
                prop_assert!(template.overlaps(template));
            }
        }

        #[test]
        fn a_text_comes_out_of_its_encoding(text in "\\PC{0,30}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decoded(&encoded, false), Ok(text));
        }
    }
}
