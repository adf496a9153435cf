//! The command that shows and forgets what the embedded interpreter has learned about modules.

use std::process::Output;

use crate::support::launcher;
use crate::support::until;
use crate::support::world::World;
use serde_json::{Value, json};

/// A module of the standard library that is not among the ordinary ones.
const PROGRAM: &str = "import wave\nprint(1)";

fn run(world: &World, arguments: &[&str]) -> Output {
    world.command(launcher::daemon()).args(arguments).output().unwrap()
}

fn text(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

fn listed(world: &World) -> Value {
    serde_json::from_str(text(&run(world, &["preload", "list", "--json"]))).unwrap()
}

#[test]
fn what_was_learned_is_shown_and_forgotten_whether_the_interpreter_runs_or_not() {
    let world = World::new();
    let file = world.path().join("state/python-interpreter-mcp/preload.json");
    assert_eq!(text(&run(&world, &["preload", "list"])), "Nothing was learned yet.\n");
    assert_eq!(text(&run(&world, &["preload", "clear"])), "");
    assert!(world.daemons().is_empty() && world.interpreters().is_empty());
    let learn = || {
        for _ in 0..2 {
            assert_eq!(text(&run(&world, &["exec", PROGRAM])), "1\n");
        }
        until("it is learned", || listed(&world)["preloaded"] == json!(["wave"]));
    };
    learn();
    let table = run(&world, &["preload", "list"]);
    let rows: Vec<Vec<&str>> = text(&table).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["MODULE", "PROGRAMS", "STATE"], ["wave", "2.0", "preloaded"]]);
    let status = run(&world, &["status"]);
    assert!(text(&status).lines().any(|line| line == "learned      wave"), "{}", text(&status));
    let status: Value = serde_json::from_str(text(&run(&world, &["status", "--json"]))).unwrap();
    assert_eq!(status["interpreter"]["embedded"]["learned"], json!(["wave"]));

    // Where none runs, the file is read.
    until("it is written", || file.exists());
    run(&world, &["stop"]);
    assert!(world.interpreters().is_empty());
    let kept = listed(&world);
    assert_eq!((&kept["learns"], &kept["modules"][0]["module"]), (&json!(true), &json!("wave")), "{kept}");
    text(&run(&world, &["preload", "clear"]));
    assert!(!file.exists() && listed(&world)["modules"] == json!([]) && world.interpreters().is_empty());

    learn();
    text(&run(&world, &["preload", "clear"]));
    assert_eq!(listed(&world)["modules"], json!([]));
    until("the next Python has none", || listed(&world)["preloaded"] == json!([]));
    assert!(!file.exists());
}
