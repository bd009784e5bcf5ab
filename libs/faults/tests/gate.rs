//! The gate, each case in a process of its own: a variable is read once.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use openorder_faults as faults;
use openorder_types::Fault;

const POINT: &str = faults::REPLAY_ITEM;

/// Runs `probe` below in a child with these variables.
fn child(gate: Option<&str>, points: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "probe", "--ignored", "--nocapture"]).env_remove(faults::GATE_VARIABLE);
    if let Some(gate) = gate {
        command.env(faults::GATE_VARIABLE, gate);
    }
    command.env(faults::POINTS_VARIABLE, points).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| line.starts_with("probe: ")).map(|line| format!("{}\n", &line[7..])).collect()
}

#[tokio::test]
#[ignore = "what the other tests run in a child process"]
async fn probe() {
    println!("probe: enabled {}", faults::enabled());
    for _ in 0..3 {
        let started = Instant::now();
        let outcome = match faults::point(POINT).await.map_err(Fault::from) {
            Ok(()) if started.elapsed() >= Duration::from_millis(100) => "late",
            Ok(()) => "nothing",
            Err(fault) => fault.kind(),
        };
        println!("probe: {outcome}");
    }
}

#[test]
fn without_the_gate_the_points_are_not_there_even_when_they_are_configured() {
    for gate in [None, Some(""), Some("0"), Some("true"), Some("2")] {
        for points in ["replay.item=crash", "this is = no setting("] {
            let output = child(gate, points);
            assert!(output.status.success(), "{gate:?}");
            assert_eq!(said(&output), "enabled false\nnothing\nnothing\nnothing\n", "{gate:?}");
        }
    }
}

#[test]
fn with_the_gate_each_action_happens_as_often_as_it_is_told() {
    let with = |points| said(&child(Some("1"), points));
    assert_eq!(with(""), "enabled true\nnothing\nnothing\nnothing\n");
    assert_eq!(with("replay.item=2*error"), "enabled true\nretryable\nretryable\nnothing\n");
    assert_eq!(with("replay.item=1*error(outage)->1*error(permanent)"), "enabled true\noutage\npermanent\nnothing\n");
    assert_eq!(with("replay.item=1*delay(120)"), "enabled true\nlate\nnothing\nnothing\n");
    assert_eq!(with("saga.compensation=error"), "enabled true\nnothing\nnothing\nnothing\n");
    assert_eq!(with("replay.item=0%error"), "enabled true\nnothing\nnothing\nnothing\n");
}

#[test]
fn a_crash_ends_the_process_where_it_stands() {
    let output = child(Some("1"), "replay.item=1*off->crash");
    assert!(!output.status.success());
    assert_eq!(said(&output), "enabled true\nnothing\n");
}

#[test]
fn a_mistake_in_the_setting_leaves_the_points_off() {
    assert_eq!(said(&child(Some("1"), "replay.itm=crash")), "enabled false\nnothing\nnothing\nnothing\n");
}
