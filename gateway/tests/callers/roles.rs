//! Each method with each role, as the table in the documents has it.

use std::collections::HashMap;
use std::path::Path;

use openorder_gateway::Anonymous;

use super::world::{REACHED, World, services};

/// The cells of each method: customer, operator, service, viewer, without a token; whether it may be called.
fn table() -> HashMap<String, [bool; 5]> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = |line: &str| {
        let (name, cells) = line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")?;
        let cells: Vec<bool> = cells.split(" | ").map(|cell| matches!(cell, "yes" | "own")).collect();
        name.contains("Service.").then(|| (name.to_owned(), cells.try_into().unwrap()))
    };
    page.lines().filter_map(row).collect()
}

/// All methods of the contract: `Service.Method`, and the path.
fn methods() -> Vec<(String, &'static str)> {
    let pool = prost_reflect::DescriptorPool::decode(openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = Vec::new();
    for (_, name) in services() {
        let service = pool.get_service_by_name(name).unwrap();
        for method in service.methods() {
            let path = format!("/{name}/{}", method.name());
            methods.push((format!("{}.{}", service.name(), method.name()), &*Box::leak(path.into_boxed_str())));
        }
    }
    methods
}

#[tokio::test]
async fn each_method_lets_in_the_roles_of_the_table_and_no_other() {
    let table = table();
    let methods = methods();
    assert!(methods.len() > 80 && table.len() == methods.len(), "{} and {}", methods.len(), table.len());
    let strict = World::ready(|settings| settings.anonymous = Anonymous::Nobody).await;
    let roles = ["customer", "operator", "service", "viewer"];
    let tokens = roles.map(|role| strict.users.token(&format!("a-{role}"), role, &[role]));
    let (none, both) = (strict.users.token("x", "x", &["king"]), strict.users.token("y", "y", &["viewer", "customer"]));
    for (name, path) in methods.iter().map(|(name, path)| (name, *path)) {
        let may = table.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let [.., without_token] = *may;
        for ((role, token), may) in roles.iter().zip(&tokens).zip(may) {
            let (reason, told) = strict.says(path, token).await;
            assert_eq!(reason, if *may { REACHED } else { "ROLE_REQUIRED" }, "{name} by {role}");
            assert!(!*may || told.starts_with(&format!("a-{role} {role} {role} ")), "{name}: {told}");
        }
        let reason = strict.says(path, "").await.0;
        assert_eq!(reason, if without_token { REACHED } else { "TOKEN_MISSING" }, "{name} without a token");
        // A role that nobody knows is none, and who has two may do what one of them may.
        let reason = strict.says(path, &none).await.0;
        assert_eq!(reason, if without_token { REACHED } else { "ROLE_REQUIRED" }, "{name} without a role");
        let reason = strict.says(path, &both).await.0;
        assert_eq!(reason, if may[0] || may[3] { REACHED } else { "ROLE_REQUIRED" }, "{name} as viewer and customer");
    }
}

#[tokio::test]
async fn who_has_no_token_is_an_operator_where_the_settings_say_so() {
    let world = World::open(|_| {}).await;
    for (name, path) in methods() {
        let (reason, told) = world.says(path, "").await;
        assert_eq!(reason, REACHED, "{name}");
        assert!(told.starts_with("anonymous-operator operator - "), "{name}: {told}");
        // The user service alone is told where a call came from.
        assert_eq!(told.ends_with(" 127.0.0.1"), name.starts_with("UserService."), "{name}: {told}");
    }
}
