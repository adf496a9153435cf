//! The shells' completions and the manual pages, which packages install: shells and man read them, and what is not for people
//! is in neither.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::passed_over;

const PROGRAM: &str = env!("CARGO_BIN_EXE_python-interpreter-mcpd");
const HIDDEN: [&str; 2] = ["spawner", "man"];

/// The commands that help names, but for help itself.
fn shown() -> Vec<String> {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<String> = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.contains(&"serve".to_owned()) && !names.contains(&HIDDEN[0].to_owned()), "{help}");
    names.into_iter().filter(|name| name != "help").collect()
}

fn completions(shell: &str) -> String {
    let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Gives a program text to read; `None` where this machine has no such program.
fn fed(program: &str, arguments: &[&str], text: &str) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            passed_over(&format!("there is no {program}"));
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    // Whoever has read enough closes its end.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    Some(child.wait_with_output().unwrap())
}

fn is_content(output: &Output) -> bool {
    output.status.success() && output.stderr.is_empty()
}

#[test]
fn bash_completes_the_commands_that_are_for_people() {
    let asking = "COMP_WORDS=(python-interpreter-mcpd '') COMP_CWORD=1\n\
        function=$(complete -p python-interpreter-mcpd | grep -o '_python[^ ]*')\n\
        $function python-interpreter-mcpd '' python-interpreter-mcpd\n\
        echo \"${COMPREPLY[@]}\"\n";
    let output = fed("bash", &["--norc", "-u"], &(completions("bash") + asking)).unwrap();
    assert!(is_content(&output), "{}", String::from_utf8_lossy(&output.stderr));
    let offered = String::from_utf8(output.stdout).unwrap();
    let offered: Vec<&str> = offered.split_whitespace().collect();
    assert!(shown().iter().all(|name| offered.contains(&name.as_str())), "{offered:?}");
    assert!(!HIDDEN.iter().any(|name| offered.contains(name)), "{offered:?}");
}

#[test]
fn every_shell_reads_its_completions() {
    for (shell, arguments) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let script = completions(shell);
        assert!(shown().iter().all(|name| script.contains(name)), "{shell}");
        assert!(!script.contains("spawner"), "{shell}");
        let Some(output) = fed(shell, arguments, &script) else { continue };
        assert!(is_content(&output), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        let broken = fed(shell, arguments, &(script + "\nif (\n")).unwrap();
        assert!(!is_content(&broken), "{shell} would say so");
    }
}

#[test]
fn each_command_has_a_page_of_the_manual_and_so_has_the_shim() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM).arg("man").arg(directory.path()).output().unwrap();
    assert!(is_content(&output), "{}", String::from_utf8_lossy(&output.stderr));
    let pages = names_in(directory.path());
    let of = |name: &str| format!("python-interpreter-mcpd-{name}.1");
    for name in shown().iter().map(String::as_str).chain(["client-add", "config-show"]) {
        assert!(pages.contains(&of(name)), "{name}: {pages:?}");
    }
    assert!(!HIDDEN.iter().any(|name| pages.contains(&of(name))), "{pages:?}");
    assert!(pages.contains(&"python-interpreter-mcp.1".to_owned()), "{pages:?}");

    for name in &pages {
        let page = fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(page.contains(&format!(".TH {}", name.trim_end_matches(".1"))), "{name}: {page}");
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
        assert!(!page.contains("spawner"), "{name}: {page}");
        let Some(output) = fed("groff", &["-man", "-Tutf8", "-ww", "-z"], &page) else { continue };
        assert!(is_content(&output), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let page = fs::read_to_string(directory.path().join("python-interpreter-mcpd-interpreter.1")).unwrap();
    assert!(page.contains("PYTHON_INTERPRETER_MCP_MEMORY"), "variables are told: {page}");
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
