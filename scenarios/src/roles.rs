//! The roles of the program, as its settings name them: a service more changes nothing here.

use std::process::Command;
use std::sync::LazyLock;

use crate::deployment::program;

struct Roles {
    all: Vec<&'static str>,
    behind_gateway: Vec<&'static str>,
    with_events: Vec<&'static str>,
}

static ROLES: LazyLock<Roles> = LazyLock::new(|| {
    // Elsewhere than in a folder with settings of somebody's own.
    let mut command = Command::new(program());
    let command = command.args(["config", "--output", "json"]).env_clear().current_dir(std::env::temp_dir());
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let settings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the settings as JSON");
    let keys = settings.as_array().expect("a list of settings").iter().filter_map(|one| one["key"].as_str());
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    let having = |end: &str| -> Vec<&'static str> {
        // As long as the process: they name roles everywhere.
        let of = |key: &String| key.strip_suffix(end).map(|role| -> &'static str { role.to_owned().leak() });
        keys.iter().filter_map(of).filter(|role| *role != "admin" && *role != "gateway").collect()
    };
    let behind_gateway = having(".listen_address");
    let all = behind_gateway.iter().copied().chain(["gateway"]).collect();
    Roles { all, behind_gateway, with_events: having(".relay.batch_max") }
});

/// All roles, the gateway last: the others are there when it asks for them.
pub fn all() -> &'static [&'static str] {
    &ROLES.all
}

/// All that the gateway routes to, each with a database of its own.
pub fn behind_gateway() -> &'static [&'static str] {
    &ROLES.behind_gateway
}

/// Those that have events: they take part in an order.
pub fn with_events() -> &'static [&'static str] {
    &ROLES.with_events
}
