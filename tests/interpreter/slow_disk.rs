//! A disk that takes its time keeps nobody waiting but those whose files it holds. The disk is a real one: a file system in a loop
//! device that is frozen, so that every write to it waits.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::interpreter::{Answer, Interpreter, am_root};
use crate::support::{passed_over, until};
use serde_json::{Value, json};

/// A small file system of its own.
struct Disk {
    directory: tempfile::TempDir,
}

/// While it lives, whoever writes to the disk waits.
struct Frozen<'a>(&'a Disk);

impl Disk {
    /// None where nothing can be mounted, and that is said. In CI root can.
    fn new() -> Option<Self> {
        if !am_root() {
            passed_over("mounting a disk takes root");
            return None;
        }
        // Not in /tmp, where tests that run at the same time look for mounts that a program has left.
        let disk = Disk { directory: tempfile::tempdir_in("/var/tmp").unwrap() };
        fs::set_permissions(disk.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let image = disk.directory.path().join("image");
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(disk.path()).unwrap();
        let made = run("mkfs.ext4", &["-q".as_ref(), &image])
            .and_then(|()| run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &disk.path()]));
        if let Err(reason) = made {
            passed_over(&format!("no disk can be made: {reason}"));
            return None;
        }
        Some(disk)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn interpreter(&self) -> Interpreter {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let path = self.path();
        let environment = [("XDG_STATE_HOME", path.to_str().unwrap()), ("PYTHON_INTERPRETER_MCP_OUTPUT", "4K")];
        let interpreter = Interpreter::start_with(&environment);
        interpreter.works();
        interpreter
    }

    fn freeze(&self) -> Frozen<'_> {
        run("fsfreeze", &["--freeze".as_ref(), &self.path()]).unwrap();
        Frozen(self)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["--unfreeze".as_ref(), &self.0.path()]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &[&self.path()]);
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}

/// A thread of the process waits for a disk.
fn waits_for_disk(process: u32) -> bool {
    fs::read_dir(format!("/proc/{process}/task")).unwrap().any(|task| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" D"))
    })
}

fn stored(interpreter: &Interpreter, result: &Value) -> Vec<u8> {
    let id = result["files"]["/workspace/stdout.txt"].as_str().unwrap_or_else(|| panic!("{result}"));
    interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"").body
}

#[test]
fn output_that_a_slow_disk_takes_delays_nobody_else_and_is_stored_whole() {
    let Some(disk) = Disk::new() else { return };
    let interpreter = disk.interpreter();
    std::thread::scope(|scope| {
        let frozen = disk.freeze();
        let printing = scope.spawn(|| interpreter.execute("import sys; sys.stdout.write('0123456789' * 400_000)"));
        until("its output is on the way to the disk", || waits_for_disk(interpreter.id()));
        assert_eq!(interpreter.execute("print('another')")["stdout"], "another\n");
        assert!(!printing.is_finished());
        drop(frozen);
        assert!(stored(&interpreter, &printing.join().unwrap()) == "0123456789".repeat(400_000).as_bytes());
    });
    interpreter.works();
}

#[test]
fn a_disk_that_hangs_costs_the_files_and_not_the_answer() {
    let Some(disk) = Disk::new() else { return };
    let interpreter = disk.interpreter();
    let frozen = disk.freeze();
    let (result, made) = std::thread::scope(|scope| {
        let making = scope.spawn(|| interpreter.execute("open('made', 'w').write('x')"));
        (interpreter.execute("print('x' * 10_000)"), making.join().unwrap())
    });
    let untaken = "File not returned: /workspace: the disk did not take its files within 30s\n";
    assert_eq!((&made["exit_code"], &made["files"], &made["stderr"]), (&json!(0), &json!({}), &json!(untaken)));
    let said = "Output: the whole of stdout could not be stored: the disk did not take it within 10s\n";
    assert_eq!((&result["exit_code"], &result["files"], &result["stderr"]), (&json!(0), &json!({}), &json!(said)));
    assert!(result["stdout"].as_str().unwrap().contains("bytes left out"));
    drop(frozen);
    assert_eq!(stored(&interpreter, &interpreter.execute("print('x' * 10_000)")).len(), 10_001);
}

/// Holds a lease on a file: who opens it waits until this process lets go, or for the kernel's `lease-break-time`, 45 s.
struct Lease {
    process: Child,
    input: ChildStdin,
    said: BufReader<ChildStdout>,
}

const LEASE: &str = "import fcntl, signal, sys
signal.signal(signal.SIGIO, lambda *_: print('wanted', flush=True))
file = open(sys.argv[1])
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()";

impl Lease {
    fn take(interpreter: &Interpreter, path: &Path) -> Self {
        let mut command = interpreter.command(Path::new("/usr/bin/python3"));
        command.args(["-c".as_ref(), LEASE.as_ref(), path.as_os_str()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, said) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut lease = Lease { process, input, said };
        lease.hears("held");
        lease
    }

    fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    fn release(mut self) {
        drop(self.input);
        self.process.wait().unwrap();
    }
}

#[test]
fn a_stored_file_that_takes_long_to_open_delays_nobody_else() {
    let interpreter = Interpreter::start();
    let made = interpreter.execute("open('a.txt', 'w').write('content')");
    let id = made["files"]["/workspace/a.txt"].as_str().unwrap().to_owned();
    let path = interpreter.stored_files().into_iter().find(|path| path.ends_with(&id)).unwrap();
    let read = || -> Answer { interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"") };
    let given = json!({ "source_code": "print(open('a.txt').read())", "files": { "/workspace/a.txt": id } });
    let use_it = || -> Answer { interpreter.post(&given) };
    for (ask, expected) in [(&read as &(dyn Fn() -> Answer + Sync), "content"), (&use_it, r#""stdout":"content\n""#)] {
        let mut lease = Lease::take(&interpreter, &path);
        std::thread::scope(|scope| {
            let asking = scope.spawn(ask);
            lease.hears("wanted");
            assert_eq!(interpreter.execute("print('another')")["stdout"], "another\n");
            assert!(!asking.is_finished());
            lease.release();
            let answer = asking.join().unwrap();
            let body = String::from_utf8(answer.body).unwrap();
            assert!(answer.status == 200 && body.contains(expected), "{body}");
        });
    }
    interpreter.works();
}
