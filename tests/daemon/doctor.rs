//! `doctor` on machines on which something is broken: one line says what to do. Each is first seen whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

use crate::support::daemon::Home;
use crate::support::fake_interpreter::FakeInterpreter;
use crate::support::{launcher, passed_over};

/// `doctor` in this world, where the machine is first changed by a shell that is root in namespaces of its own.
fn doctor_after(home: &Home, change: &str) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", &format!("{change}\nexec \"$0\" \"$@\"")]);
    command.args([launcher::daemon(), "doctor"]).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("HOME", home.path().join("home")).env("XDG_RUNTIME_DIR", home.path());
    fs::create_dir_all(home.path().join("home")).unwrap();
    command.output().unwrap()
}

fn doctor(home: &Home) -> Output {
    doctor_after(home, ":")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn is_well(output: &Output) {
    assert!(output.status.success() && text(output).ends_with("Nothing is wrong.\n"), "{output:?}");
    assert!(text(output).lines().all(|line| !line.starts_with("FAILED")), "{output:?}");
}

/// One line, of `name`, with all of `said`.
fn names(output: &Output, name: &str, said: &[&str]) {
    let text = text(output);
    let failed: Vec<&str> = text.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert_eq!(failed.len(), 1, "{text}");
    assert_eq!(failed[0].split_whitespace().nth(1), Some(name), "{text}");
    assert!(said.iter().all(|said| failed[0].contains(said)), "{text}");
    assert_eq!((output.status.code(), text.lines().last()), (Some(1), Some("One thing is wrong.")));
}

#[test]
fn without_user_namespaces_it_names_the_switch() {
    let home = Home::new();
    is_well(&doctor(&home));
    let output = doctor_after(&home, "echo 0 >/proc/sys/user/max_user_namespaces");
    names(&output, "sandbox", &["cannot isolate Python", "sudo sysctl user.max_user_namespaces=15000"]);
}

#[test]
fn without_python_it_says_what_to_install() {
    let home = Home::new();
    is_well(&doctor(&home));
    let hide = "for python in /usr/bin/python3 /usr/local/bin/python3; do
        [ -e $python ] && mount --bind /dev/null $(readlink -f $python); done; export PATH=/nowhere";
    let output = doctor_after(&home, hide);
    names(&output, "python", &["no python3 was found", "install Python 3.9 or later", "PYTHON_INTERPRETER_MCP_PYTHON"]);
}

#[test]
fn an_environment_without_bytecode_is_named_with_the_command_that_compiles_it() {
    let home = Home::new();
    let environment = home.path().join("environment");
    let run = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program} {arguments:?}");
    };
    run("/usr/bin/python3", &["-m", "venv", "--without-pip", environment.to_str().unwrap()]);
    let python = environment.join("bin/python").to_str().unwrap().to_owned();
    let site = fs::read_dir(environment.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    fs::create_dir(site.join("package")).unwrap();
    fs::write(site.join("package/__init__.py"), "value = 1\n").unwrap();
    let doctor = || doctor_after(&home, &format!("export PYTHON_INTERPRETER_MCP_PYTHON={python}"));
    let output = text(&doctor());
    let command = format!("{python} -m compileall -q {}", site.display());
    assert!(output.contains("1 of 1 packages have no bytecode") && output.contains(&command), "{output}");
    run(&python, &["-m", "compileall", "-q", site.to_str().unwrap()]);
    let output = text(&doctor());
    assert!(output.contains(&python) && !output.contains("bytecode"), "{output}");
}

#[test]
fn on_a_full_disk_it_says_to_free_some_space() {
    let home = Home::new();
    let fill = |size: &str| format!("mount -t tmpfs -o size={size} tmpfs \"$HOME\"");
    is_well(&doctor_after(&home, &fill("256m")));
    names(&doctor_after(&home, &fill("48k")), "state", &[".local/state", "disk", "free some space"]);
    names(&doctor_after(&home, &fill("8m")), "state", &["nearly full", "free some space"]);
}

#[test]
fn in_a_read_only_home_it_says_where_else_files_can_be() {
    let home = Home::new();
    let mount = |options: &str| format!("mount -t tmpfs -o {options},size=256m tmpfs \"$HOME\"");
    is_well(&doctor_after(&home, &mount("rw")));
    let output = doctor_after(&home, &mount("ro"));
    names(&output, "state", &["Read-only file system", "set XDG_STATE_HOME to a directory that can be written to"]);
}

#[test]
fn a_stale_socket_is_named_and_nothing_to_worry_about() {
    let home = Home::new();
    fs::create_dir(home.path().join("python-interpreter-mcp")).unwrap();
    fs::set_permissions(home.path().join("python-interpreter-mcp"), fs::Permissions::from_mode(0o700)).unwrap();
    drop(UnixListener::bind(home.socket()).unwrap());
    let output = doctor(&home);
    is_well(&output);
    let line = format!("{} is stale, nobody listens there: there is nothing to do", home.socket().display());
    assert!(text(&output).lines().any(|found| found.starts_with("note") && found.contains(&line)), "{output:?}");
    // As it says: the next one replaces it.
    let interpreter = FakeInterpreter::start();
    let output =
        home.command().args(["exec", "1"]).env("PYTHON_INTERPRETER_MCP_URL", interpreter.url()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!text(&doctor(&home)).contains("stale"));
}

#[test]
fn what_lies_in_the_place_of_a_socket_or_its_directory_is_named_with_the_remedy() {
    let home = Home::new();
    let directory = home.path().join("python-interpreter-mcp");
    is_well(&doctor(&home));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    // The daemon cannot be asked either, for the same reason: told once each.
    let failed = |output: &Output, said: &str| {
        let text = text(output);
        assert!(
            !output.status.success()
                && text.lines().any(|line| line.starts_with("FAILED sockets") && line.contains(said)),
            "{text}"
        );
    };
    failed(&doctor(&home), &format!("chmod 700 {}", directory.display()));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(home.socket(), "").unwrap();
    failed(&doctor(&home), &format!("remove it (`rm {}`)", home.socket().display()));
    fs::remove_file(home.socket()).unwrap();
    if !rustix::process::geteuid().is_root() {
        return passed_over("giving a directory to another user takes root");
    }
    chown(&directory, Some(4242), Some(4242)).unwrap();
    failed(&doctor(&home), "set XDG_RUNTIME_DIR to a directory of yours");
    chown(&directory, Some(0), Some(0)).unwrap();
    is_well(&doctor(&home));
}

#[test]
fn without_systemd_it_says_who_starts_the_daemon() {
    let home = Home::new();
    let output = doctor(&home);
    is_well(&output);
    assert!(
        text(&output).contains("there is no user manager here that answers; clients start the daemon by themselves")
    );
}

#[test]
fn a_configured_service_that_is_not_there_and_a_mistake_in_the_file_are_named() {
    let home = Home::new();
    let path = home.path().join("home/.config/python-interpreter-mcp/config.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let interpreter = FakeInterpreter::start();
    fs::write(&path, format!("interpreter_url = \"{}\"", interpreter.url())).unwrap();
    is_well(&doctor(&home));
    fs::write(&path, "interpreter_url = \"http://127.0.0.1:9\"").unwrap();
    names(&doctor(&home), "service", &["http://127.0.0.1:9 is configured and cannot be connected to", "start it"]);
    fs::write(&path, "\ntimout = 1").unwrap();
    names(&doctor(&home), "configuration", &[&format!("{}:2: ", path.display()), "did you mean \"timeout\"?"]);
}

#[test]
fn clients_that_start_a_program_that_is_gone_are_named_with_the_command_that_mends_it() {
    let home = Home::new();
    let file = home.path().join("home/.cursor/mcp.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "{}").unwrap();
    let output = doctor(&home);
    is_well(&output);
    assert!(text(&output).contains("Cursor does not have it yet: `python-interpreter-mcpd client add cursor`"));
    fs::write(&file, r#"{"mcpServers": {"python-interpreter": {"command": "/gone/python-interpreter-mcp"}}}"#).unwrap();
    let said = ["/gone/python-interpreter-mcp, which is not there", "`python-interpreter-mcpd client add cursor`"];
    names(&doctor(&home), "client", &said);
    fs::write(&file, "{").unwrap();
    names(&doctor(&home), "client", &["Cursor's configuration cannot be read", &file.display().to_string()]);
}

#[test]
fn it_can_be_read_by_programs_and_says_nothing_when_quiet_and_well() {
    let home = Home::new();
    let output = home.command().args(["doctor", "--json"]).output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sandbox = findings.as_array().unwrap().iter().find(|finding| finding["name"] == "sandbox").unwrap();
    assert_eq!(sandbox["state"], "ok");
    let output = home.command().args(["doctor", "--quiet"]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(home.processes().is_empty(), "nothing was started, or it was ended");
}
