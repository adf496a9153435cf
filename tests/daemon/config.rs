//! The configuration file: what holds of file, environment and flags, what is said of mistakes, and that it is read again without a
//! client noticing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::daemon::{Daemon, Home};
use crate::support::fake_interpreter::{Answer, FakeInterpreter};
use crate::support::processes::signal;
use crate::support::until;
use rustix::process::Signal;

const EXAMPLE: &str = include_str!("../../packaging/config.example.toml");

fn configure(home: &Home, text: &str) -> PathBuf {
    let path = home.path().join(".config/python-interpreter-mcp/config.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn run(home: &Home, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    home.command().envs(environment.iter().copied()).args(arguments).output().unwrap()
}

fn show(home: &Home, environment: &[(&str, &str)]) -> String {
    let output = run(home, environment, &["config", "show"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The line of a setting, as its value and its source.
fn setting(shown: &str, key: &str) -> (String, String) {
    let line = shown.lines().find(|line| line.trim_start_matches('#').starts_with(&format!("{key} ="))).unwrap();
    let (setting, source) = line.split_once("  # ").unwrap();
    (setting.trim().to_owned(), source.to_owned())
}

#[test]
fn the_example_is_what_the_code_says() {
    let home = Home::new();
    let output = run(&home, &[], &["config", "example"]);
    let example = String::from_utf8(output.stdout).unwrap();
    assert_eq!(example, EXAMPLE, "make it anew: python-interpreter-mcpd config example >packaging/config.example.toml");
}

#[test]
fn defaults_that_are_written_out_change_nothing() {
    let home = Home::new();
    let without = show(&home, &[]);
    // A word in capitals stands for a value that has no default.
    let is_word = |value: &str| value.trim_matches('"').chars().all(|letter| letter.is_ascii_uppercase());
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let defaults: Vec<&str> =
        lines.filter(|line| line.split_once(" = ").is_some_and(|(_, value)| !is_word(value))).collect();
    assert!(defaults.len() > 15, "{defaults:?}");
    let path = configure(&home, &defaults.join("\n"));
    let with = show(&home, &[]);
    for (number, line) in defaults.iter().enumerate() {
        let key = line.split_once(" = ").unwrap().0;
        assert_eq!(setting(&with, key), (setting(&without, key).0, format!("{}:{}", path.display(), number + 1)));
    }
}

#[test]
fn the_file_comes_before_defaults_the_environment_before_the_file_and_flags_before_all() {
    let home = Home::new();
    let path = configure(
        &home,
        "# mine\ntimeout = 7\npreload = [\"json\", \"re\"]\nmemory = \"1G\"\nmounts = [{ source = \"~/d\", target = \"/d\" }]\n",
    );
    let shown = show(&home, &[("PYTHON_INTERPRETER_MCP_MEMORY", "2G")]);
    let of = |key| setting(&shown, key);
    let at = |line: usize| format!("{}:{line}", path.display());
    assert_eq!(of("timeout"), ("timeout = 7".into(), at(2)));
    assert_eq!(of("preload"), ("preload = [\"json\", \"re\"]".into(), at(3)));
    assert_eq!(of("memory"), ("memory = \"2G\"".into(), "PYTHON_INTERPRETER_MCP_MEMORY".into()));
    assert_eq!(of("mounts"), ("mounts = [\"~/d:/d\"]".into(), at(5)));
    assert_eq!(of("drain"), ("drain = 10".into(), "default".into()));
    assert_eq!(of("python"), ("#python =".into(), "not set".into()));

    // What holds is what acts: the limit of a call, as the tool's description has it.
    let described = |arguments: &[&str], environment: &[(&str, &str)], seconds: &str| {
        let home = Home::new();
        configure(&home, "timeout = 71\ninterpreter_url = \"http://127.0.0.1:9\"\n");
        let daemon = Daemon::start_in(home, environment, arguments);
        let tools = daemon.connect().request("tools/list", serde_json::json!({})).to_string();
        assert!(tools.contains(&format!("{seconds} s")), "{tools}");
    };
    described(&[], &[], "71");
    described(&[], &[("PYTHON_INTERPRETER_MCP_TIMEOUT", "72")], "72");
    described(&["--timeout", "73"], &[("PYTHON_INTERPRETER_MCP_TIMEOUT", "72")], "73");
}

#[test]
fn mistakes_are_told_with_file_line_and_what_was_meant() {
    let home = Home::new();
    for (text, line, said) in [
        ("# a\n\ntimout = 3", 3, "there is no setting \"timout\"; did you mean \"timeout\"?"),
        ("colour = \"red\"", 1, "there is no setting \"colour\"; `python-interpreter-mcpd config example` lists all"),
        ("timeout = \"300\"", 1, "timeout = \"300\" is refused: a number is expected"),
        ("timeout = 0", 1, "timeout = 0 is refused: 0 is not in 1..=86400"),
        ("drain = 1\npython = 3", 2, "python = 3 is refused: a text in quotes is expected"),
        ("network = \"some\"", 1, "network = \"some\" is refused: it must be none or host"),
        ("memory = \"1T\"", 1, "memory = \"1T\" is refused: it is not a size such as 512M or 1G"),
        (
            "preload = \"numpy\"",
            1,
            "preload = \"numpy\" is refused: a list, as [\"a\", \"b\"], or \"auto\" is expected",
        ),
        ("timeout = 1\n[[mounts]]\nsource = \"/a\"", 2, "a list holds texts, or mounts as"),
        ("mounts = [{ source = \"/a\" }]", 1, "a list holds texts, or mounts as"),
        ("interpreter_url = \"localhost\"", 1, "interpreter_url = \"localhost\" is refused"),
        ("timeout = 1\n[limits]\n", 2, "[limits] is no setting"),
        ("a = 1\nb = = 2", 2, "this is not TOML"),
        ("timeout = 1\ntimeout = 2", 2, "this is not TOML"),
    ] {
        let path = configure(&home, text);
        for command in [&["config", "show"][..], &["config", "check"], &["serve"], &["interpreter"]] {
            let output = run(&home, &[], command);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{text}");
            assert!(stderr.contains(&format!("{}:{line}: ", path.display())), "{text}: {stderr}");
            assert!(stderr.contains(said) && stderr.lines().count() == 1, "{text}: {stderr}");
        }
    }
    let output = run(&home, &[("PYTHON_INTERPRETER_MCP_CONFIG", "/nowhere/config.toml")], &["config", "show"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/config.toml cannot be read"));
}

#[test]
fn a_file_that_is_named_is_checked_alone_and_in_every_form() {
    let home = Home::new();
    configure(&home, "no such setting");
    let good = home.path().join("good.toml");
    fs::write(&good, "memory = \"2GiB\"\npython = \"~/python\"\n[[mounts]]\nsource = \"/srv\"\ntarget = \"/data\"\n")
        .unwrap();
    let output = run(&home, &[], &["config", "check", good.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert!(!run(&home, &[], &["config", "check"]).status.success());
}

/// The README and the pages in docs/.
fn documentation() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|page| page.unwrap().path());
    pages.chain([root.join("README.md")]).map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_configuration_that_the_documentation_shows_is_taken() {
    let home = Home::new();
    let mut shown = 0;
    for (page, text) in documentation() {
        for block in text.split("```toml\n").skip(1) {
            let file = home.path().join("shown.toml");
            fs::write(&file, block.split("```").next().unwrap()).unwrap();
            let output = run(&home, &[], &["config", "check", file.to_str().unwrap()]);
            assert!(output.status.success(), "{}: {output:?}", page.display());
            shown += 1;
        }
    }
    assert!(shown >= 2);
}

#[test]
fn every_setting_is_in_the_documentation() {
    let home = Home::new();
    let pages: String = documentation().into_iter().map(|(_, text)| text).collect();
    let example = String::from_utf8(run(&home, &[], &["config", "example"]).stdout).unwrap();
    let keys: Vec<_> = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = ")).collect();
    assert!(keys.len() > 20, "{example}");
    for (key, _) in keys {
        let flag = format!("--{}", key.replace('_', "-"));
        assert!(pages.contains(&flag) || pages.contains(&format!("key `{key}`")), "{key} is not documented");
    }
}

#[test]
fn a_client_goes_on_with_settings_that_were_read_again() {
    let (first, second) = (FakeInterpreter::start(), FakeInterpreter::start());
    let home = Home::new();
    let url = |interpreter: &FakeInterpreter| format!("interpreter_url = \"{}\"\n", interpreter.url());
    configure(&home, &url(&first));
    let daemon = Daemon::start_in(home, &[], &[]);
    let mut client = daemon.connect();
    client.call("1");
    // What runs meanwhile goes on where it is.
    let mut running = daemon.connect();
    first.answer_next(Answer::Hold);
    running.send_call(1, "2");
    first.wait_for_requests(2);
    let reload = |text: &str, told: &str, times: usize| {
        configure(daemon.home(), text);
        signal(daemon.pid(), Signal::HUP);
        until(told, || daemon.stderr().matches(told).count() == times);
    };
    reload(&url(&second), "the settings were read again", 1);
    client.call("3");
    assert_eq!((first.requests().len(), second.requests().len()), (2, 1));
    first.release();
    assert!(running.read_answer().to_string().contains("released"));
    // A mistake changes nothing.
    reload("interpreter_url = 1\n", "the settings stay as they were", 1);
    client.call("4");
    assert_eq!(second.requests().len(), 2);
    reload(&(url(&second) + "max_sessions = 1\n"), "the settings were read again", 2);
    let mut refused = daemon.connect();
    refused.send_call(1, "6");
    let answer = refused.read_answer();
    assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains("max_sessions")), "{answer}");
    client.call("5");
}

#[test]
fn the_embedded_interpreter_reads_them_again_too() {
    let home = Home::new();
    fs::create_dir(home.path().join("data")).unwrap();
    fs::write(home.path().join("data/file"), "shown").unwrap();
    configure(&home, "timeout = 50\n");
    let daemon = Daemon::start_in(home, &[], &[]);
    let mut client = daemon.connect();
    let code = "import os; print(open('/data/file').read() if os.path.exists('/data') else 'nothing')";
    let mut stdout = |code| client.call(code)["structuredContent"]["stdout"].as_str().unwrap().to_owned();
    assert_eq!(stdout(code), "nothing\n");
    configure(daemon.home(), "mounts = [{ source = \"~/data\", target = \"/data\" }]\n");
    signal(daemon.pid(), Signal::HUP);
    until("the folder", || stdout(code) == "shown\n");
    let log = daemon.home().path().join(".local/state/python-interpreter-mcp/interpreter.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("the settings were read again"), "{log}");
    assert_eq!(log.matches("interpreter serving").count(), 1, "nobody was started anew: {log}");
}

#[test]
fn an_interpreter_without_a_python_that_works_reads_them_again_and_can_be_stopped() {
    let home = Home::new();
    configure(&home, "python = \"/nowhere/python3\"\n");
    let daemon = Daemon::start_in(home, &[], &[]);
    let mut client = daemon.connect();
    let mut ran = || client.call("print(1)")["structuredContent"]["stdout"] == "1\n";
    assert!(!ran());
    configure(daemon.home(), "");
    signal(daemon.pid(), Signal::HUP);
    until("programs run", &mut ran);
    configure(daemon.home(), "python = \"/nowhere/python3\"\n");
    signal(daemon.pid(), Signal::HUP);
    until("programs do not run", || !ran());
    assert!(run(daemon.home(), &[], &["stop"]).status.success());
    until("nobody runs", || daemon.home().processes().is_empty());
}

#[test]
fn in_a_terminal_they_are_read_again_too() {
    let home = Home::new();
    let mut terminal = home.command();
    let program = terminal.get_program().to_str().unwrap().to_owned();
    let environment: Vec<_> =
        terminal.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
    terminal = std::process::Command::new("script");
    terminal.args(["-qefc", &format!("exec {program} serve"), "/dev/null"]).env_clear().envs(environment);
    // As the first of its session, which hears of the end.
    let said = home.path().join("said");
    let mut terminal =
        terminal.stdin(std::process::Stdio::null()).stdout(fs::File::create(&said).unwrap()).spawn().unwrap();
    until("it serves", || run(&home, &[], &["status"]).status.success());
    assert!(run(&home, &[], &["reload"]).status.success());
    until("they were read", || fs::read_to_string(&said).unwrap().contains("the settings were read again"));
    assert!(run(&home, &[], &["status"]).status.success(), "it is still there");
    // The terminal's end is its end.
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    until("nobody runs", || home.processes().is_empty());
}
