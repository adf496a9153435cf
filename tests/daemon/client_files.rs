//! `client` on the configuration files of real clients: what is written, what is left, and what is refused. Each sample in
//! `client_files/` stands beside what it has to become.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::launcher::built_shim;
use crate::support::world::World;

const PROGRAM: &str = env!("CARGO_BIN_EXE_python-interpreter-mcpd");

/// Each client, its file below the home, and the sample's extension.
const CLIENTS: [(&str, &str, &str); 8] = [
    ("claude-desktop", ".config/Claude/claude_desktop_config.json", "json"),
    ("claude-code", ".claude.json", "json"),
    ("cursor", ".cursor/mcp.json", "json"),
    ("vscode", ".config/Code/User/mcp.json", "json"),
    ("zed", ".config/zed/settings.json", "json"),
    ("codex", ".codex/config.toml", "toml"),
    ("gemini", ".gemini/settings.json", "json"),
    ("goose", ".config/goose/config.yaml", "yaml"),
];

fn client(world: &World, arguments: &[&str]) -> Output {
    world.command(PROGRAM).arg("client").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn succeeds(world: &World, arguments: &[&str]) -> String {
    let output = client(world, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refuses(world: &World, arguments: &[&str]) -> String {
    let output = client(world, arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn put(world: &World, file: &str, text: &str) -> PathBuf {
    let path = world.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// The sample of a client, and the same with our entry.
fn sample(client: &str, extension: &str) -> (String, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/daemon/client_files");
    let read = |name: String| fs::read_to_string(folder.join(name)).unwrap();
    let added = read(format!("{client}.added.{extension}")).replace("@SHIM@", built_shim().to_str().unwrap());
    (read(format!("{client}.{extension}")), added)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// In every variant of the sample's bytes: adding gives the expected bytes, once more changes nothing, removing gives the
/// sample's bytes back, with what was kept beside it and without.
fn adds_and_removes(name: &str, file: &str, before: &str, added: &str) {
    let world = World::new();
    let path = put(&world, file, before);
    let said = succeeds(&world, &["add", name, "--yes"]);
    assert!(said.contains("+++") || said.contains("@@"), "the change is shown: {said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), added, "{name}");
    let kept = PathBuf::from(format!("{}.before-python-interpreter", path.display()));
    assert_eq!(fs::read_to_string(&kept).unwrap(), before, "{name}");

    let again = succeeds(&world, &["add", name, "--yes"]);
    assert!(again.contains("already"), "{again}");
    assert_eq!(fs::read_to_string(&path).unwrap(), added, "{name}");
    assert!(succeeds(&world, &["list"]).contains("has this server"));

    succeeds(&world, &["remove", name, "--yes"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), before, "{name}");
    assert!(succeeds(&world, &["remove", name, "--yes"]).contains("does not have this server"));
}

#[test]
fn every_client_gets_its_entry_and_loses_it_again_byte_for_byte() {
    for (name, file, extension) in CLIENTS {
        let (before, added) = sample(name, extension);
        adds_and_removes(name, file, &before, &added);
        let windows = |text: &str| text.replace('\n', "\r\n");
        adds_and_removes(name, file, &windows(&before), &windows(&added));
        adds_and_removes(name, file, &format!("\u{feff}{before}"), &format!("\u{feff}{added}"));
    }
}

#[test]
fn what_was_kept_is_not_needed_to_take_the_entry_out_again() {
    for (name, file, extension) in CLIENTS {
        let (before, added) = sample(name, extension);
        let world = World::new();
        let path = put(&world, file, &added);
        succeeds(&world, &["remove", name, "--yes"]);
        let left = fs::read_to_string(&path).unwrap();
        // The table that had been made for the entry stays, empty.
        let emptied = match name {
            "claude-code" => before.replace("12.131Z\"\n", "12.131Z\",\n  \"mcpServers\": {}\n"),
            "gemini" => before.replace("\"Default\" }\n", "\"Default\" },\n  \"mcpServers\": {}\n"),
            _ => before,
        };
        assert_eq!(left, emptied, "{name}");
    }
}

#[test]
fn a_change_made_since_is_not_undone_with_the_entry() {
    let world = World::new();
    let path = put(&world, ".config/zed/settings.json", "{\n  \"vim_mode\": false\n}\n");
    succeeds(&world, &["add", "zed", "--yes"]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("false", "true")).unwrap();
    succeeds(&world, &["remove", "--yes"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"vim_mode\": true,\n  \"context_servers\": {}\n}\n");
}

#[test]
fn an_entry_that_starts_the_shim_elsewhere_gets_the_place_changed_and_nothing_else() {
    const OLD: &str = "/old/python-interpreter-mcp";
    let shim = built_shim();
    let shim = shim.to_str().unwrap();
    let cases = [
        (
            "claude-desktop",
            "{ \"mcpServers\": { \"python-interpreter\": { \"env\": {\"A\": \"b\"}, \"command\": \"/old\" /* mine */ } } }",
        ),
        (
            "vscode",
            "{\n  \"servers\": {\n    \"python-interpreter\": {\n      \"command\": \"/old\", // mine\n      \"env\": {},\n    }\n  }\n}\n",
        ),
        ("codex", "[mcp_servers]\r\npython-interpreter = { command = \"/old\" , env = { A = 'b' } } # mine\r\n"),
        ("codex", "[mcp_servers.python-interpreter]\nenv = { A = 'b' }\ncommand = \"/old\"  # mine\n\n[tui]\n"),
        (
            "goose",
            "extensions:\n  python-interpreter:\n    envs: {A: b}\n    cmd: \"/old\" # mine\n    type: stdio\n  other: {}\n",
        ),
        ("goose", "extensions:\n  python-interpreter:\n    cmd: '/old' # 'mine'\n  other: !mine {}\n"),
        ("goose", "extensions: {other: {}, python-interpreter: {cmd: \"/old\", envs: {A: b}}}\n"),
    ];
    for (name, text) in cases {
        let text = &text.replace("/old", OLD);
        let world = World::new();
        let (_, file, _) = CLIENTS.into_iter().find(|(client, ..)| *client == name).unwrap();
        let path = put(&world, file, text);
        assert!(succeeds(&world, &["list"]).contains(&format!("starts another program, {OLD}")), "{name}");
        succeeds(&world, &["add", "--yes"]);
        // In YAML the path is written plainly.
        let plain = format!("cmd: {OLD}");
        let expected = text.replace(&format!("cmd: '{OLD}'"), &plain).replace(&format!("cmd: \"{OLD}\""), &plain);
        assert_eq!(fs::read_to_string(&path).unwrap().replace(shim, OLD), expected, "{name}");
        succeeds(&world, &["remove", "--yes"]);
        let left = fs::read_to_string(&path).unwrap();
        assert!(!left.contains("python-interpreter"), "it is ours by its name: {left}");
    }
}

#[test]
fn an_entry_of_another_program_is_left_alone_until_its_client_is_named_and_then_goes_with_its_arguments() {
    for (name, file, text) in [
        (
            "cursor",
            ".cursor/mcp.json",
            r#"{"mcpServers": {"python-interpreter": {"command": "uvx", "args": ["some-server"]}, "b": {}}}"#,
        ),
        (
            "codex",
            ".codex/config.toml",
            "[mcp_servers.python-interpreter]\ncommand = \"uvx\"\nargs = [\"some-server\"]\n",
        ),
        (
            "goose",
            ".config/goose/config.yaml",
            "extensions:\n  python-interpreter:\n    cmd: uvx\n    args: [some-server]\n",
        ),
    ] {
        let world = World::new();
        let path = put(&world, file, text);
        for command in ["add", "remove"] {
            assert!(succeeds(&world, &[command, "--yes"]).contains("name the client to replace it"), "{name}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        succeeds(&world, &["add", name, "--yes"]);
        let changed = fs::read_to_string(&path).unwrap();
        assert!(changed.contains(built_shim().to_str().unwrap()) && !changed.contains("some-server"), "{changed}");
    }
}

#[test]
fn an_entry_that_starts_nothing_is_replaced() {
    for (name, file, text) in [
        ("cursor", ".cursor/mcp.json", "{\"mcpServers\": {\"python-interpreter\": {\"url\": \"http://x\"}}}"),
        ("codex", ".codex/config.toml", "[mcp_servers.python-interpreter]\nurl = \"http://x\"\n"),
        ("goose", ".config/goose/config.yaml", "extensions:\n  python-interpreter:\n    uri: http://x\n"),
    ] {
        let world = World::new();
        let path = put(&world, file, text);
        succeeds(&world, &["add", name, "--yes"]);
        let changed = fs::read_to_string(&path).unwrap();
        assert!(changed.contains(built_shim().to_str().unwrap()) && !changed.contains("http://x"), "{changed}");
    }
}

#[test]
fn a_configuration_without_content_becomes_one_with_the_entry_alone() {
    for (name, file, extension) in CLIENTS {
        let texts: &[&str] = match extension {
            "json" => &["", "\n", "{}", "{ }\n", "// nothing yet\n", "{\n  // nothing yet\n}\n"],
            "toml" => &["", "\n", "# nothing yet\n", "a = 1"],
            _ => &[
                "",
                "\n",
                "# nothing yet\n",
                "extensions:\n",
                "extensions: {} # none\n",
                "extensions: {}",
                "a: 1",
                "---\na: 1\n",
            ],
        };
        for text in texts {
            let world = World::new();
            let path = put(&world, file, text);
            succeeds(&world, &["add", name, "--yes"]);
            assert!(succeeds(&world, &["list"]).contains("has this server"), "{name} {text:?}");
            let comment = text.contains("nothing yet").then_some("nothing yet");
            let added = fs::read_to_string(&path).unwrap();
            assert!(added.contains(comment.unwrap_or_default()) && added.ends_with(['\n', '}']), "{name} {added}");
            succeeds(&world, &["remove", name, "--yes"]);
            assert_eq!(&fs::read_to_string(&path).unwrap(), text, "{name}");
        }
    }
}

#[test]
fn a_malformed_file_is_named_with_its_line_and_left_alone() {
    for (name, file, text, line) in [
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", "{\n  \"a\": 1\n  \"b\": 2\n}\n", 2),
        ("zed", ".config/zed/settings.json", "{\n  'a': 1\n}\n", 2),
        ("codex", ".codex/config.toml", "a = 1\n\nb = \n", 3),
        ("goose", ".config/goose/config.yaml", "a: 1\nb: [1,\n", 3),
    ] {
        let world = World::new();
        let path = put(&world, file, text);
        for command in ["add", "remove"] {
            let said = refuses(&world, &[command, name, "--yes"]);
            assert!(said.contains(path.to_str().unwrap()) && said.contains(&format!("line {line}")), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        assert!(succeeds(&world, &["list"]).contains("cannot be read"));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(names_in(path.parent().unwrap()).len(), 1, "nothing is left beside it");
    }
}

#[test]
fn what_cannot_be_changed_alone_is_refused() {
    for (name, file, text) in [
        ("cursor", ".cursor/mcp.json", "{\"mcpServers\": []}"),
        ("cursor", ".cursor/mcp.json", "[]"),
        ("codex", ".codex/config.toml", "mcp_servers = 1\n"),
        ("goose", ".config/goose/config.yaml", "{extensions: {a: {cmd: b}}}\n"),
        ("goose", ".config/goose/config.yaml", "a: 1\n---\nb: 1\n"),
        ("goose", ".config/goose/config.yaml", "a: 1\n...\n"),
    ] {
        let world = World::new();
        let path = put(&world, file, text);
        let said = refuses(&world, &["add", name, "--yes"]);
        assert!(said.contains("is not changed"), "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn one_broken_configuration_does_not_keep_the_others_from_theirs() {
    let world = World::new();
    let broken = put(&world, ".config/Claude/claude_desktop_config.json", "{");
    let sound = put(&world, ".gemini/settings.json", "{}\n");
    assert!(refuses(&world, &["add", "--yes"]).contains("Claude Desktop"));
    assert_eq!(fs::read_to_string(broken).unwrap(), "{");
    assert!(fs::read_to_string(sound).unwrap().contains("python-interpreter"));
}

#[test]
fn only_a_client_that_is_named_gets_a_configuration_that_it_has_not() {
    let world = World::new();
    assert!(refuses(&world, &["add", "--yes"]).contains("no supported client is installed"));
    fs::create_dir(world.path().join(".cursor")).unwrap();
    assert!(succeeds(&world, &["list"]).contains("has no configuration yet"));
    assert!(succeeds(&world, &["add", "--yes"]).contains("name it"));
    assert!(names_in(&world.path().join(".cursor")).is_empty());

    for (name, file, _) in CLIENTS {
        succeeds(&world, &["add", name, "--yes"]);
        let path = world.path().join(file);
        assert!(fs::read_to_string(&path).unwrap().contains(built_shim().to_str().unwrap()), "{name}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{name}");
        if name == "zed" {
            assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        }
    }
    let listed = succeeds(&world, &["list"]);
    assert_eq!(listed.matches("has this server").count(), CLIENTS.len(), "{listed}");
}

#[test]
fn the_variables_that_move_a_configuration_are_followed() {
    let world = World::new();
    let elsewhere = world.path().join("elsewhere");
    for (variable, name, file) in [
        ("XDG_CONFIG_HOME", "claude-desktop", "Claude/claude_desktop_config.json"),
        ("XDG_CONFIG_HOME", "goose", "goose/config.yaml"),
        ("CLAUDE_CONFIG_DIR", "claude-code", ".claude.json"),
        ("CODEX_HOME", "codex", "config.toml"),
        ("GEMINI_CLI_HOME", "gemini", ".gemini/settings.json"),
        ("GOOSE_PATH_ROOT", "goose", "config/config.yaml"),
    ] {
        let mut command = world.command(PROGRAM);
        command.args(["client", "add", name, "--yes"]).env(variable, &elsewhere).stdin(Stdio::null());
        assert!(command.output().unwrap().status.success());
        assert!(elsewhere.join(file).is_file(), "{variable}");
    }
}

#[test]
fn a_link_stays_a_link_and_a_file_keeps_its_mode() {
    let world = World::new();
    let real = put(&world, "dotfiles/mcp.json", "{}\n");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    let link = world.path().join(".cursor/mcp.json");
    fs::create_dir(link.parent().unwrap()).unwrap();
    symlink("../dotfiles/mcp.json", &link).unwrap();
    succeeds(&world, &["add", "cursor", "--yes"]);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../dotfiles/mcp.json"));
    assert!(fs::read_to_string(&real).unwrap().contains("python-interpreter"));
    for file in ["mcp.json", "mcp.json.before-python-interpreter"] {
        assert_eq!(fs::metadata(real.with_file_name(file)).unwrap().mode() & 0o7777, 0o640, "{file}");
    }
    assert_eq!(names_in(real.parent().unwrap()).len(), 2);

    fs::remove_file(&real).unwrap();
    assert!(refuses(&world, &["add", "cursor", "--yes"]).contains("link to nothing"));
}

#[test]
fn nothing_is_written_without_an_answer_or_for_a_dry_run() {
    let world = World::new();
    let path = put(&world, ".cursor/mcp.json", "{}\n");
    let said = succeeds(&world, &["add", "--dry-run"]);
    assert!(said.contains("+  \"mcpServers\"") && said.contains("@@"), "{said}");
    let output = client(&world, &["add"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("+  \"mcpServers\""), "it is shown all the same");
    assert!(String::from_utf8(output.stderr).unwrap().contains("--yes"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n");
    assert_eq!(names_in(path.parent().unwrap()), ["mcp.json"]);
}

#[test]
fn at_a_terminal_it_asks_and_takes_only_yes_for_a_yes() {
    // Types what it is given when it is asked, and ends as the program ends.
    let typing = "import os, pty, sys\n\
        answer, program = sys.argv[1], sys.argv[2:]\n\
        child, terminal = pty.fork()\n\
        if child == 0: os.execv(program[0], program)\n\
        seen = b''\n\
        try:\n\
        \x20   while chunk := os.read(terminal, 4096):\n\
        \x20       seen += chunk\n\
        \x20       if seen.endswith(b'[y/N] '): os.write(terminal, answer.encode() + b'\\n')\n\
        except OSError: pass\n\
        os.write(1, seen)\n\
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))";
    for (answer, written) in [("", false), ("n", false), ("maybe", false), ("y", true), ("YES", true)] {
        let world = World::new();
        let path = put(&world, ".cursor/mcp.json", "{}\n");
        let mut command: Command = world.command("timeout");
        command.args(["60", "python3", "-c", typing, answer, PROGRAM, "client", "add"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("[y/N]"), "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap().contains("python-interpreter"), written, "{answer:?}: {said}");
    }
}
