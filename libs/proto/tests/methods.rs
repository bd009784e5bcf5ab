//! What every method of the contract says of itself: whether it may be sent twice, and how it is called over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;

/// The verbs of a rule, as `google/api/http.proto` names them.
const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Requests whose `request_id` is no id of their own: a condition of a list.
const NAMES_ANOTHER_REQUEST: [&str; 1] = ["openorder.operations.v1.ListAuditEntriesRequest"];

/// Commands without a request id that have one effect however often they are made: a refresh token gives its successor again,
/// and a session ends once.
const REPEATABLE_WITHOUT_ID: [&str; 2] =
    ["openorder.user.v1.UserService.RefreshToken", "openorder.user.v1.UserService.SignOut"];

/// The one command that has another effect each time: nothing of it may be stored, so no request id can repeat it.
const NOT_REPEATABLE: [&str; 1] = ["openorder.user.v1.UserService.Authenticate"];

/// The methods of our own services in a descriptor set.
fn methods_of(descriptors: &[u8]) -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(descriptors).unwrap();
    let services = pool.services().filter(|service| service.full_name().starts_with("openorder."));
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn methods() -> Vec<MethodDescriptor> {
    let methods = methods_of(PUBLIC_FILE_DESCRIPTOR_SET);
    assert!(methods.len() > 60, "the contract is read: {}", methods.len());
    methods
}

fn level(method: &MethodDescriptor) -> IdempotencyLevel {
    let options = method.method_descriptor_proto().options.as_ref();
    options.map_or(IdempotencyLevel::IdempotencyUnknown, |options| options.idempotency_level())
}

/// The rules of a method, each with its verb and its path: the first one, then the additional ones.
fn rules(method: &MethodDescriptor) -> Vec<(&'static str, String, String)> {
    let option = method.parent_pool().get_extension_by_name("google.api.http").unwrap();
    let options = method.options();
    if !options.has_extension(&option) {
        return Vec::new();
    }
    let rule = options.get_extension(&option).into_owned();
    let mut rules = Vec::new();
    let first = rule.as_message().unwrap();
    rules.push(read(first));
    let more = first.get_field_by_name("additional_bindings").unwrap().into_owned();
    rules.extend(more.as_list().unwrap().iter().map(|rule| read(rule.as_message().unwrap())));
    rules
}

fn read(rule: &DynamicMessage) -> (&'static str, String, String) {
    let text = |field: &str| rule.get_field_by_name(field).unwrap().as_str().unwrap().to_owned();
    let verb = VERBS.into_iter().find(|verb| rule.has_field_by_name(verb)).expect("a verb");
    (verb, text(verb), text("body"))
}

/// Who calls reads it to know whether a call that was lost may be sent again, and by which HTTP method it goes.
#[test]
fn every_method_says_whether_it_may_be_sent_twice() {
    for method in methods() {
        let (name, input) = (method.full_name(), method.input());
        let has_id = input.get_field_by_name("request_id").is_some();
        let commands = has_id && !NAMES_ANOTHER_REQUEST.contains(&input.full_name());
        match level(&method) {
            IdempotencyLevel::IdempotencyUnknown => {
                assert!(NOT_REPEATABLE.contains(&name), "{name} has no idempotency_level");
            }
            IdempotencyLevel::NoSideEffects => assert!(!commands, "{name} takes a request id, so it has an effect"),
            IdempotencyLevel::Idempotent => {
                let is_same = commands || REPEATABLE_WITHOUT_ID.contains(&name);
                assert!(is_same, "{name} has nothing that makes a second one of it the same as the first");
            }
        }
    }
}

#[test]
fn a_level_that_was_released_stays() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/baseline.binpb");
    let now: BTreeMap<String, IdempotencyLevel> =
        methods().iter().map(|method| (method.full_name().to_owned(), level(method))).collect();
    let released = methods_of(&std::fs::read(file).unwrap());
    assert!(released.len() > 20, "the baseline is read: {}", released.len());
    for method in released.iter().filter(|method| level(method) != IdempotencyLevel::IdempotencyUnknown) {
        assert_eq!(now.get(method.full_name()), Some(&level(method)), "{}", method.full_name());
    }
}

#[test]
fn every_method_has_a_route_whose_verb_says_what_it_does() {
    for method in methods() {
        let (name, rules) = (method.full_name(), rules(&method));
        assert!(!rules.is_empty(), "{name} has no google.api.http");
        for (verb, path, body) in rules {
            assert!(path.starts_with("/v1/"), "{name}: {path}");
            let reads = level(&method) == IdempotencyLevel::NoSideEffects;
            assert_eq!(verb == "get", reads, "{name}: what has no effect is a GET, and nothing else is");
            assert_eq!(body.is_empty(), matches!(verb, "get" | "delete"), "{name}: {verb} with body {body:?}");
            assert!(body.is_empty() || body == "*" || method.input().get_field_by_name(&body).is_some(), "{name}");
        }
    }
}

#[test]
fn no_two_methods_have_one_route() {
    let mut owners: BTreeMap<(&str, String), String> = BTreeMap::new();
    for method in methods() {
        for (verb, path, _) in rules(&method) {
            let other = owners.insert((verb, path.clone()), method.full_name().to_owned());
            assert_eq!(other, None, "{verb} {path} is {}'s too", method.full_name());
        }
    }
}
