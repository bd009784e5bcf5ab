//! Requests that nobody meant: whatever arrives, it is a call or its caller's mistake, and never a failure of ours.
//! `dev/fuzz` tries it as often as one likes.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderValue};
use openorder_rpc::status::web;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};
use tonic::Status;

use super::contract::PUBLIC;
use super::json::tests::Random;
use super::json::{UnknownFields, read, write};
use super::request::{IDEMPOTENCY_KEY, framed, name_command, rest};
use super::rest::{Binding, Found};
use crate::routes::{RouteTable, of_contract};

/// How deep messages are made.
const DEPTH: u32 = 4;

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    of_contract()
});

/// All ways of REST, in one order.
static BINDINGS: LazyLock<Vec<Arc<Binding>>> = LazyLock::new(|| {
    let mut all: Vec<_> = ROUTES.rest().all().cloned().collect();
    all.sort_by_key(|binding| (binding.template.to_string(), binding.method.to_string()));
    all
});

static MESSAGES: LazyLock<Vec<MessageDescriptor>> =
    LazyLock::new(|| PUBLIC.pool().all_messages().filter(|one| one.full_name().starts_with("openorder.")).collect());

/// What happens to one byte of a text on its way.
#[derive(Clone, Debug)]
enum Damage {
    Changed(Index, u8),
    LeftOut(Index),
    Inserted(Index, u8),
    /// A part comes twice.
    Repeated(Index, Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let byte = || prop_oneof![any::<u8>(), select(b"\"{}[]:,\\0-9eE.+ntf\0\xff".to_vec())];
    let one = prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Changed(at, byte)),
        any::<Index>().prop_map(Damage::LeftOut),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Inserted(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeated(from, to)),
        any::<Index>().prop_map(Damage::Cut),
    ];
    proptest::collection::vec(one, 0..4)
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match one {
            Damage::Changed(at, byte) => bytes[at.index(length)] = *byte,
            Damage::LeftOut(at) => {
                bytes.remove(at.index(length));
            }
            Damage::Inserted(at, byte) => bytes.insert(at.index(length), *byte),
            Damage::Repeated(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(to..to, part);
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// Whether a refusal says that its caller did something wrong, and can be told.
fn is_the_callers(status: &Status) -> bool {
    web::http_status(status).is_client_error() && super::error::rest(&PUBLIC, status)["code"].is_number()
}

fn is_read_or_refused(descriptor: &MessageDescriptor, json: &[u8]) -> bool {
    [UnknownFields::Refused, UnknownFields::Ignored].into_iter().all(|unknown_fields| {
        match read(descriptor, json, unknown_fields) {
            Ok(message) => DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice()).is_ok(),
            Err(status) => is_the_callers(&status),
        }
    })
}

/// What may stand in a path, or as a value in a query.
fn text() -> impl Strategy<Value = String> {
    let known =
        ["1", "-1", "true", "1e400", "2030-01-01T00:00:00Z", "ORDER_STATUS_PAID", "", "%", "%2F", "a,b", ":cancel"];
    prop_oneof![select(known.to_vec()).prop_map(str::to_owned), "[a-zA-Z0-9%:._~/*{}=&-]{0,12}", "\\PC{0,8}",]
}

/// A name of a query: that of a field, or of a field of an amount.
fn name(message: &MessageDescriptor, at: &Index) -> String {
    let names: Vec<_> = message.fields().map(|field| field.json_name().to_owned()).collect();
    let position = at.index(names.len() + 2);
    match names.get(position) {
        Some(name) => name.clone(),
        None if position == names.len() => "totalMin.units".to_owned(),
        None => "nothing".to_owned(),
    }
}

proptest! {
    #[test]
    fn damaged_json_is_read_or_refused(seed: u64, which: Index, damage in damage()) {
        let descriptor = which.get(MESSAGES.as_slice());
        let message = Random(seed).message(descriptor, DEPTH);
        let json = write(descriptor, &message.encode_to_vec()).unwrap();
        prop_assert!(is_read_or_refused(descriptor, &damaged(json, &damage)));
    }

    /// What a service sends is read here, too.
    #[test]
    fn a_damaged_message_is_written_as_json_or_not_at_all(seed: u64, which: Index, damage in damage()) {
        let descriptor = which.get(MESSAGES.as_slice());
        let bytes = damaged(Random(seed).message(descriptor, DEPTH).encode_to_vec(), &damage);
        if let Ok(json) = write(descriptor, &bytes) {
            prop_assert!(is_read_or_refused(descriptor, &json));
        }
    }

    #[test]
    fn any_request_over_rest_is_a_call_or_refused(
        seed: u64,
        which: Index,
        texts in proptest::collection::vec(text(), 4),
        parameters in proptest::collection::vec((any::<Index>(), text()), 0..5),
        key in proptest::collection::vec(any::<u8>(), 0..9),
        damage in damage(),
    ) {
        let binding = which.get(BINDINGS.as_slice());
        let procedure = &binding.route.procedure;
        let mut path = binding.template.to_string();
        for (field, text) in binding.template.fields().zip(&texts) {
            path = path.replace(&format!("{{{field}}}"), text);
        }
        let query: Vec<String> =
            parameters.iter().map(|(at, text)| format!("{}={text}", name(&procedure.input, at))).collect();
        let json = write(&procedure.input, &Random(seed).message(&procedure.input, DEPTH).encode_to_vec()).unwrap();
        let mut headers = HeaderMap::new();
        if let Ok(key) = HeaderValue::from_bytes(&key) {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        for body in [&b""[..], &damaged(json, &damage)] {
            // Texts may lead to another method, or to none.
            let Found::Method(found, values) = ROUTES.rest().find(&binding.method, &path) else { continue };
            let call = rest(found, &values, Some(&query.join("&")), body).and_then(|mut message| {
                name_command(&found.route.procedure, &mut message, &headers)?;
                Ok(framed(&message))
            });
            match call {
                Ok(framed) => {
                    let input = found.route.procedure.input.clone();
                    prop_assert!(DynamicMessage::decode(input, &framed[5..]).is_ok());
                }
                Err(status) => prop_assert!(is_the_callers(&status), "{path}: {status:?}"),
            }
        }
    }
}

#[test]
fn a_whole_request_reaches_most_of_what_there_is() {
    // Properties that never got as far as a message would hold whatever is done with one.
    let reached = BINDINGS.iter().filter(|binding| {
        let path = binding
            .template
            .fields()
            .fold(binding.template.to_string(), |path, field| path.replace(&format!("{{{field}}}"), "a"));
        let Found::Method(found, values) = ROUTES.rest().find(&binding.method, &path) else { return false };
        rest(found, &values, None, b"").is_ok_and(|message| message.descriptor() == found.route.procedure.input)
    });
    let reached = reached.count();
    assert!(reached * 10 > BINDINGS.len() * 8, "{reached} of {}", BINDINGS.len());
}
