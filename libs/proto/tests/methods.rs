//! What every method of the contract says of itself: whether it may be sent twice, how it is called over HTTP, and who may
//! call it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET;
use openorder_proto::access::v1::{Access, AccessRule, CustomerScope, Role};
use prost_reflect::{DescriptorPool, DynamicMessage, EnumValueDescriptor, Kind, MethodDescriptor};
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

/// The word that says who may call a method; none where it does not say.
fn word(method: &MethodDescriptor) -> Option<EnumValueDescriptor> {
    let option = method.parent_pool().get_extension_by_name("openorder.access.v1.access").unwrap();
    let options = method.options();
    if !options.has_extension(&option) {
        return None;
    }
    let Kind::Enum(words) = option.kind() else { panic!("access is no enum") };
    words.get_value(options.get_extension(&option).as_enum_number().unwrap())
}

/// What a word means.
fn rule(word: &EnumValueDescriptor) -> Option<AccessRule> {
    let option = word.parent_enum().parent_pool().get_extension_by_name("openorder.access.v1.rule").unwrap();
    let options = word.options();
    let value = options.has_extension(&option).then(|| options.get_extension(&option).into_owned())?;
    Some(value.as_message().unwrap().transcode_to().unwrap())
}

fn rule_of(method: &MethodDescriptor) -> AccessRule {
    let word = word(method).unwrap_or_else(|| panic!("{} does not say who may call it", method.full_name()));
    rule(&word).unwrap_or_else(|| panic!("{}: {} means nothing", method.full_name(), word.name()))
}

#[test]
fn every_method_says_who_may_call_it() {
    for method in methods() {
        let (name, rule) = (method.full_name(), rule_of(&method));
        let roles: Vec<Role> = rule.roles().collect();
        assert!(!roles.is_empty(), "{name}: nobody may call it");
        assert!(roles.contains(&Role::Operator), "{name}: operators may do everything");
        let of_customers = rule.customer_scope() != CustomerScope::Unspecified;
        assert_eq!(roles.contains(&Role::Customer), of_customers, "{name}: whose objects do customers reach?");
    }
}

#[test]
fn who_looks_on_changes_nothing_but_its_own_account() {
    for method in methods() {
        let (name, reads) = (method.full_name(), level(&method) == IdempotencyLevel::NoSideEffects);
        let words_of_both = ["ACCESS_OPEN", "ACCESS_SELF"];
        let word = word(&method).unwrap();
        if words_of_both.contains(&word.name()) {
            continue;
        }
        let viewers_may = rule_of(&method).roles().any(|role| role == Role::Viewer);
        assert_eq!(viewers_may, reads, "{name}: {}", word.name());
        assert_eq!(word.name().ends_with("_CHANGES"), !reads, "{name}: {}", word.name());
    }
}

#[test]
fn every_word_has_its_rule_and_its_own() {
    let mut rules: Vec<AccessRule> = Vec::new();
    let pool = DescriptorPool::decode(PUBLIC_FILE_DESCRIPTOR_SET).unwrap();
    let words = pool.get_enum_by_name("openorder.access.v1.Access").unwrap();
    for word in words.values() {
        let rule = rule(&word);
        assert_eq!(rule.is_none(), word.number() == Access::Unspecified as i32, "{}", word.name());
        rules.extend(rule);
    }
    // `OWNER_READS` and `SELF` differ in what a service lets the other roles reach.
    let different = rules.iter().enumerate().all(|(at, rule)| {
        rules[..at].iter().filter(|other| *other == rule).count()
            <= usize::from(rule.customer_scope() == CustomerScope::Own)
    });
    assert!(different && rules.len() > 5, "{rules:?}");
}

/// The rows of the table in the documents: a method, and what each role reaches by it.
fn rows() -> Vec<String> {
    let row = |method: &MethodDescriptor| {
        let rule = rule_of(method);
        let may = |role: Role| if rule.roles().any(|one| one == role) { "yes" } else { "–" };
        let customer = match rule.customer_scope() {
            CustomerScope::Own => "own",
            CustomerScope::Any => "yes",
            CustomerScope::Unspecified => "–",
        };
        let others = [Role::Operator, Role::Service, Role::Viewer].map(may).join(" | ");
        let nobody = if rule.open { "yes" } else { "–" };
        format!("| `{}.{}` | {customer} | {others} | {nobody} |", method.parent_service().name(), method.name())
    };
    methods().iter().map(row).collect()
}

#[test]
fn the_page_about_security_has_the_table_of_methods_and_roles() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let is_row = |line: &&str| line.starts_with("| `") && line.contains("Service.");
    let mut written: Vec<&str> = page.lines().filter(is_row).collect();
    let mut expected = rows();
    written.sort_unstable();
    expected.sort_unstable();
    assert_eq!(written, expected, "the table is now:\n{}", expected.join("\n"));
}
