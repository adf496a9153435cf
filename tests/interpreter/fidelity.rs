//! Small programs, each run by plain `python3 script.py` and by the interpreter: what they print, how they end and which files
//! they leave must be the same. The programs are in `fidelity/`, several in a file, each after a line `# %% what it shows`.
mod known;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::interpreter::Interpreter;
use crate::support::processes::{children, signal};
use crate::support::python_with_packages;
use known::{KNOWN, Part};
use rustix::process::Signal;
use serde_json::{Value, json};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/interpreter/fidelity");
/// The file whose programs need more than the standard library.
const NEEDS_PACKAGES: &str = "packages.py";
const DEBIANS: &str = "/usr/bin/python3";
/// A variable that acts when Python starts.
const SEED: [(&str, &str); 1] = [("PYTHONHASHSEED", "0")];
/// The longest time of one program.
const DEADLINE: Duration = Duration::from_secs(60);
/// Programs at the same time, within one test.
const AT_ONCE: usize = 2;

/// Programs that a text file would not keep.
fn programs_with_odd_characters() -> Vec<(String, String)> {
    [
        ("nothing at all", String::new()),
        ("no line end", "print('x')".to_owned()),
        ("a null character", "print(1)\nprint('\0')\n".to_owned()),
        ("a null character in a comment", "print(1)\n# \0\nprint(2)\n".to_owned()),
        ("a byte order mark", "\u{feff}print('é', open(__file__, 'rb').read(3))\n".to_owned()),
        ("a byte order mark and another encoding", "\u{feff}# -*- coding: latin-1 -*-\nprint('é')\n".to_owned()),
        ("a byte order mark further on", "print(1)\n\u{feff}print(2)\n".to_owned()),
        (
            "lines that end in CR LF",
            "x = '''a\r\nb'''\r\nprint(ascii(x), open(__file__, 'rb').read(9))\r\n1/0\r\n".to_owned(),
        ),
        ("lines that end in CR", "x = '''a\rb'''\rprint(ascii(x))\r1/0\r".to_owned()),
        ("a form feed", "x = 1\n\u{c}\nif x:\n\u{c}  print('\u{c}' == '\\f')\n1/0\n".to_owned()),
        ("line separators", "print(ascii('\u{2028}\u{85}'))\n1/0 # \u{2028} \u{85}\n".to_owned()),
        ("a control character", "print(1)\nx = \u{1b}[31m\n".to_owned()),
        ("too many parentheses", format!("x = {}1{}\n", "(".repeat(300), ")".repeat(300))),
        ("a number of too many digits", format!("print(1)\nx = {}\n", "1".repeat(5000))),
        ("a long line", format!("x = '{}'; 1/0\n", "y".repeat(100_000))),
        ("many lines", format!("{}print(x)\n1/0\n", "x = 1\n".repeat(20_000))),
        ("a backslash at the end", "print(1) \\".to_owned()),
        ("an indented first line", "  print(1)\n".to_owned()),
        ("a shell line", "#!/usr/bin/env python2\nprint('x')\n".to_owned()),
    ]
    .map(|(title, source)| (format!("odd characters: {title}"), source))
    .into()
}

#[test]
fn programs_behave_as_under_debians_python() {
    compare(&Interpreter::start(), Path::new(DEBIANS), &[], &programs(false));
}

#[test]
fn programs_behave_as_under_debians_python_with_a_variable_that_acts_at_its_start() {
    compare(&Interpreter::start(), Path::new(DEBIANS), &SEED, &every_other(programs(false), 0));
}

#[test]
fn programs_behave_as_under_the_python_of_a_virtual_environment() {
    let Some(python) = python_with_packages() else { return };
    compare(&with_packages(&python), &python, &[], &programs(true));
}

#[test]
fn programs_behave_as_under_the_python_of_a_virtual_environment_with_a_variable_that_acts_at_its_start() {
    let Some(python) = python_with_packages() else { return };
    compare(&with_packages(&python), &python, &SEED, &every_other(programs(true), 1));
}

#[test]
fn files_given_to_a_program_hide_modules_of_their_names() {
    let hidden = |interpreter: &Interpreter, modules: &[&str]| {
        let made = interpreter.execute("open('own.py', 'w').write('own = 7')");
        let id = &made["files"]["/workspace/own.py"];
        for module in modules {
            for path in [format!("/workspace/{module}.py"), format!("/workspace/{module}/__init__.py")] {
                let code = format!("import {module}\nprint({module}.own, {module}.__file__)");
                let result = interpreter.run(&json!({ "source_code": code, "files": { path.clone(): id } }));
                assert_eq!(result["stdout"], format!("7 {path}\n"), "{result}");
            }
        }
    };
    let modules = ["random", "json", "collections", "datetime", "pathlib", "statistics", "helper"];
    hidden(&Interpreter::start(), &modules);
    let Some(python) = python_with_packages() else { return };
    hidden(&with_packages(&python), &["numpy", "pandas", "matplotlib", "PIL", "random", "helper"]);
}

/// The most different from a Python that has just started: large modules are imported before there is a program.
fn with_packages(python: &Path) -> Interpreter {
    Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap()),
        ("PYTHON_INTERPRETER_MCP_PRELOAD", "numpy,pandas,matplotlib.pyplot"),
    ])
}

/// What came of a program.
#[derive(PartialEq, Eq)]
struct Outcome {
    exit_code: i64,
    stdout: String,
    stderr: String,
    /// Path below the workspace → content.
    files: BTreeMap<String, Vec<u8>>,
}

impl Outcome {
    /// In what they differ.
    fn differing(&self, other: &Outcome) -> Vec<Part> {
        [
            (Part::ExitCode, self.exit_code == other.exit_code),
            (Part::Stdout, self.stdout == other.stdout),
            (Part::Stderr, self.stderr == other.stderr),
            (Part::Files, self.files == other.files),
        ]
        .into_iter()
        .filter_map(|(part, same)| (!same).then_some(part))
        .collect()
    }
}

/// Runs every program both ways and reports all that differ.
fn compare(interpreter: &Interpreter, python: &Path, environment: &[(&str, &str)], programs: &[(String, String)]) {
    let plain = Plain::new(interpreter, python, environment);
    let has_packages = python != Path::new(DEBIANS);
    let (next, differing) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((title, source)) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let expected = plain.run(source);
                    let found = in_a_slot(interpreter, source, environment);
                    // What starts anew for a variable is no fork.
                    let known = KNOWN.iter().find(|known| {
                        known.title == title && environment.is_empty() && (has_packages || !known.only_with_packages)
                    });
                    // A reason that no longer holds is to go.
                    if expected.differing(&found) != known.map_or(&[][..], |known| known.parts) {
                        differing.lock().unwrap().push(format!("{title}\n{}", difference(&expected, &found)));
                    }
                }
            });
        }
    });
    interpreter.works();
    let differing = differing.into_inner().unwrap();
    let count = programs.len();
    assert!(differing.is_empty(), "{} of {count} programs differ:\n\n{}", differing.len(), differing.join("\n"));
}

/// All programs with what they show, or those of which a person has given a part of the title.
fn programs(packages: bool) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(PROGRAMS).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|path| (path.ends_with(NEEDS_PACKAGES), path.clone()));
    let mut programs = programs_with_odd_characters();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "py")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == NEEDS_PACKAGES && !packages {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for part in text.split("\n# %% ").skip(1) {
            let title = part.lines().next().unwrap();
            programs.push((format!("{name}: {title}"), format!("# %% {part}\n")));
        }
    }
    assert!(programs.len() > 400, "only {} programs were found", programs.len());
    let chosen = std::env::var("PYTHON_INTERPRETER_MCP_TEST_PROGRAMS").unwrap_or_default();
    programs.retain(|(title, _)| title.contains(&chosen));
    programs
}

/// Half of the programs, the other half being for another Python: with a variable that acts at its start, each is run as plain
/// Python is. Those that need packages belong to both halves.
fn every_other(programs: Vec<(String, String)>, first: usize) -> Vec<(String, String)> {
    let chosen =
        |(index, (title, _)): &(usize, (String, String))| index % 2 == first || title.starts_with(NEEDS_PACKAGES);
    programs.into_iter().enumerate().filter(chosen).map(|(_, program)| program).collect()
}

/// `python3 script.py` outside, as the same user, in a fresh directory, with a slot's environment.
struct Plain<'a> {
    interpreter: &'a Interpreter,
    python: &'a Path,
    environment: BTreeMap<String, String>,
    home: PathBuf,
    next: AtomicUsize,
}

impl<'a> Plain<'a> {
    fn new(interpreter: &'a Interpreter, python: &'a Path, environment: &[(&str, &str)]) -> Self {
        let home = own_directory(interpreter, "plain-home");
        keep_descriptors();
        let given = interpreter.execute("import json, os; print(json.dumps(dict(os.environ)))");
        let mut variables: BTreeMap<String, String> = serde_json::from_str(given["stdout"].as_str().unwrap()).unwrap();
        // What is there only in a slot, and a home that is gone with it.
        variables.retain(|_, value| !value.starts_with('/') || value.contains(':') || Path::new(value).exists());
        variables.insert("HOME".to_owned(), home.display().to_string());
        variables.insert("MPLBACKEND".to_owned(), "Agg".to_owned());
        variables.extend(environment.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        Plain { interpreter, python, environment: variables, home, next: AtomicUsize::new(0) }
    }

    fn run(&self, source: &str) -> Outcome {
        let name = format!("plain-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let directory = own_directory(self.interpreter, &name);
        let script = directory.join("script.py");
        fs::write(&script, source).unwrap();
        chown(&script, Some(self.interpreter.user()), Some(self.interpreter.user())).unwrap();
        // A session and signals of its own, as in a slot: what whoever runs the tests has is not the program's.
        let mut command = self.interpreter.command(Path::new("/usr/bin/setsid"));
        command.args(["/usr/bin/env", "--default-signal"]).arg(self.python);
        command.arg("script.py").current_dir(&directory).env_clear().envs(&self.environment);
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (id, started) = (process.id(), Instant::now());
        let output = std::thread::scope(|scope| {
            let output = scope.spawn(|| process.wait_with_output().unwrap());
            while !output.is_finished() {
                if started.elapsed() > DEADLINE {
                    end(id);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            output.join().unwrap()
        });
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(directory.to_str().unwrap(), "/workspace");
            comparable(&text.replace(self.home.to_str().unwrap(), "/tmp"))
        };
        let mut files = BTreeMap::new();
        read_files(&directory, "", &mut files);
        if files.get("script.py").is_some_and(|content| content == source.as_bytes()) {
            files.remove("script.py");
        }
        let exit_code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap());
        let outcome =
            Outcome { exit_code: exit_code.into(), stdout: text(&output.stdout), stderr: text(&output.stderr), files };
        fs::remove_dir_all(directory).unwrap();
        outcome
    }
}

fn in_a_slot(interpreter: &Interpreter, source: &str, environment: &[(&str, &str)]) -> Outcome {
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let request = json!({ "source_code": source, "env": environment, "timeout_seconds": DEADLINE.as_secs() });
    let answer = interpreter.post(&request);
    if answer.status != 200 {
        let stderr = format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        return Outcome { exit_code: -1, stdout: String::new(), stderr, files: BTreeMap::new() };
    }
    let result = answer.json();
    let content = |(path, id): (&String, &Value)| {
        let stored = interpreter.request("GET", &format!("/v1/files/{}", id.as_str().unwrap()), &[], b"");
        (path.trim_start_matches("/workspace/").to_owned(), stored.body)
    };
    let text = |name: &str| comparable(result[name].as_str().unwrap());
    Outcome {
        exit_code: result["exit_code"].as_i64().unwrap(),
        stdout: text("stdout"),
        stderr: without_explanation(&text("stderr")),
        files: result["files"].as_object().unwrap().iter().map(content).collect(),
    }
}

/// Without the lines that the interpreter adds at the end: about a signal, a limit, or bytes that are no text.
fn without_explanation(stderr: &str) -> String {
    let mut rest = stderr;
    loop {
        let last = rest.trim_end_matches('\n').rsplit('\n').next().unwrap_or_default();
        if !["Killed: the program was ended by signal", "Limit: ", "Output: "]
            .iter()
            .any(|start| last.starts_with(start))
        {
            return rest.to_owned();
        }
        rest = &rest[..rest.rfind(last).unwrap_or_default()];
    }
}

/// Without what differs from one run to the next: addresses, and which modules of C are loaded.
fn comparable(text: &str) -> String {
    let mut kept = String::new();
    for line in text.split_inclusive('\n').filter(|line| !line.starts_with("Extension modules: ")) {
        let mut pieces = line.split("0x");
        kept.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let rest = piece.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
            kept.push_str("0x");
            kept.push_str(if piece.len() - rest.len() >= 6 { "…" } else { &piece[..piece.len() - rest.len()] });
            kept.push_str(rest);
        }
    }
    kept
}

fn difference(plain: &Outcome, slot: &Outcome) -> String {
    let mut lines = Vec::new();
    if plain.exit_code != slot.exit_code {
        lines.push(format!("  exit code: plain {}, in a slot {}", plain.exit_code, slot.exit_code));
    }
    for (name, plain, slot) in [("stdout", &plain.stdout, &slot.stdout), ("stderr", &plain.stderr, &slot.stderr)] {
        if plain != slot {
            // From the line before the first that differs.
            let same = plain.lines().zip(slot.lines()).take_while(|(one, other)| one == other).count();
            let shown = |text: &str| {
                let rest = text.split_inclusive('\n').skip(same.saturating_sub(1)).collect::<String>();
                format!("{:?}", rest.chars().take(700).collect::<String>())
            };
            lines.push(format!(
                "  {name}, line {}:\n    plain:  {}\n    a slot: {}",
                same + 1,
                shown(plain),
                shown(slot)
            ));
        }
    }
    let names = |files: &BTreeMap<String, Vec<u8>>, others: &BTreeMap<String, Vec<u8>>| {
        files
            .iter()
            .filter(|(name, content)| others.get(*name) != Some(content))
            .map(|(name, _)| name.clone())
            .collect()
    };
    let (here, there): (Vec<_>, Vec<_>) = (names(&plain.files, &slot.files), names(&slot.files, &plain.files));
    if plain.files != slot.files {
        lines.push(format!("  files that differ: plain {here:?}, in a slot {there:?}"));
    }
    lines.join("\n") + "\n"
}

fn own_directory(interpreter: &Interpreter, name: &str) -> PathBuf {
    let path = interpreter.home.path().join(name);
    fs::create_dir(&path).unwrap();
    chown(&path, Some(interpreter.user()), Some(interpreter.user())).unwrap();
    path
}

fn read_files(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            read_files(&entry.path(), &format!("{name}/"), files);
        } else if kind.is_file() {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

/// What this process was started with besides its standard streams is not for the programs that it starts.
fn keep_descriptors() {
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let number: i32 = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        if number > 2 {
            #[allow(unsafe_code, reason = "inherited descriptors have no owner here")]
            // SAFETY: the number is only used for this one call, which does nothing if it is no longer open.
            let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            let _ = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
        }
    }
}

/// Ends a program that does not end, with what it started.
fn end(process: u32) {
    for process in children(process).into_iter().chain([process]) {
        signal(process, Signal::KILL);
    }
}
