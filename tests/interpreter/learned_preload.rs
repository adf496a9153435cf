//! With `preload = "auto"`, what programs import again and again is imported ahead of them, if it is a module of the configured Python and
//! nothing that a fork would break.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::environment::Environment;
use crate::support::interpreter::Interpreter;
use crate::support::{python_with_packages, until};
use serde_json::{Value, json};

/// A module that differs wherever it is imported anew.
const TELLING: &str = "import time\nimported = time.monotonic_ns()\n";

fn learned(interpreter: &Interpreter) -> Value {
    interpreter.request("GET", "/v1/preload", &[], b"").json()
}

/// The modules that were counted.
fn counted(interpreter: &Interpreter) -> Vec<String> {
    let learned = learned(interpreter);
    let modules = learned["modules"].as_array().unwrap().iter();
    let mut names: Vec<_> = modules.map(|counted| counted["module"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn until_preloaded(interpreter: &Interpreter, modules: &[&str]) {
    // Health starts Python.
    interpreter.slots("waiting");
    until("the modules are preloaded", || {
        let learned = learned(interpreter);
        let mut names: Vec<&str> = learned["preloaded"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        names.sort_unstable();
        names == modules
    });
}

fn record(interpreter: &Interpreter) -> PathBuf {
    interpreter.home.path().join("state/python-interpreter-mcp/preload.json")
}

fn printed(interpreter: &Interpreter, program: &str) -> String {
    let result = interpreter.execute(program);
    assert_eq!((&result["stderr"], &result["exit_code"]), (&"".into(), &0.into()), "{result}");
    result["stdout"].as_str().unwrap().to_owned()
}

/// The text alone counts, so a module is named where the program does not get to it.
fn twice(interpreter: &Interpreter, modules: &[&str]) {
    for _ in 0..2 {
        let imports: String = modules.iter().map(|name| format!("    import {name}\n")).collect();
        assert_eq!(printed(interpreter, &format!("if False:\n{imports}print(1)")), "1\n");
    }
}

#[test]
fn what_two_programs_imported_is_imported_for_the_third() {
    let environment = Environment::with(&[("telling", TELLING)]);
    fs::create_dir_all(environment.packages().join("space/inner")).unwrap();
    fs::write(environment.packages().join("space/inner/deep.py"), "").unwrap();
    let interpreter = environment.preloading("auto");
    // Too rare to be tried.
    let once = "try: from secret_plan import secret\nexcept ImportError:\n    import secret_plan_b, telling\n";
    assert_eq!(interpreter.execute(once)["exit_code"], 1);
    let program = "import sys\nprint('telling' in sys.modules)\nfrom telling import imported
from space.inner import deep\nprint(imported)";
    let [first, second] = [(); 2].map(|()| printed(&interpreter, program));
    assert_ne!(first, second);
    until_preloaded(&interpreter, &["space.inner", "space.inner.deep", "telling"]);
    let [first, second] = [(); 2].map(|()| printed(&interpreter, program));
    assert_eq!(first, second);
    // It is hidden until a program imports it, and makes way for a file of the program's own.
    assert!(first.starts_with("False\n"), "{first}");
    let own = "open('telling.py', 'w').write('imported = 5')\nimport telling\nprint(telling.imported)";
    assert_eq!(printed(&interpreter, own), "5\n");
    // Nothing but modules that are installed is kept.
    let file = record(&interpreter);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("telling") && !text.contains("secret") && !text.contains("imported"), "{text}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(counted(&interpreter), ["space.inner", "space.inner.deep", "telling"]);
}

#[test]
fn large_packages_are_learned_and_work() {
    let Some(python) = python_with_packages() else { return };
    let python = ("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap());
    let interpreter = Interpreter::start_with(&[python, ("PYTHON_INTERPRETER_MCP_PRELOAD", "auto")]);
    let program = "import matplotlib.pyplot as plt, numpy as np\nfrom pandas import DataFrame
plt.plot(DataFrame({'a': np.arange(9) ** 2})); plt.show(); print(np.random.rand(), np.dot(np.ones((99, 99)), np.ones(99))[0])";
    let mut printed = Vec::new();
    let mut run = || {
        let result = interpreter.execute(program);
        assert_eq!((&result["stderr"], result["files"].as_object().unwrap().len()), (&"".into(), 1), "{result}");
        printed.push(result["stdout"].as_str().unwrap().to_owned());
    };
    run();
    run();
    until_preloaded(&interpreter, &["matplotlib.pyplot", "numpy", "pandas"]);
    run();
    run();
    printed.sort();
    printed.dedup();
    assert!(printed.len() == 4 && printed.iter().all(|line| line.ends_with(" 99.0\n")), "{printed:?}");
}

#[test]
fn what_a_program_would_miss_is_left_out_and_named_once() {
    let modules = [
        ("holds", "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"),
        ("opens", "import os\nopened = os.open('/dev/null', os.O_RDONLY)\n"),
        ("raises", "raise ValueError('no\\nway')\n"),
        ("needs", "import not_there\n"),
        ("prints", "print('hello')\n"),
        ("warns", "import sys\nsys.stderr.write('careful')\n"),
        ("sleeps", "import time\ntime.sleep(10)\n"),
        ("exits", "import os\nos._exit(0)\n"),
        ("spawns", "import subprocess\nprocess = subprocess.Popen(['sleep', '600'])\n"),
        ("moves", "import os\nos.chdir('/usr')\n"),
        ("hooks", "import sys\nsys.excepthook = print\n"),
        ("handles", "import signal\nsignal.signal(signal.SIGTERM, print)\n"),
        ("adds", "import builtins\nbuiltins.added = 1\n"),
        (
            "wraps",
            "import builtins\nplain = builtins.open\nbuiltins.open = lambda *given, **named: plain(*given, **named)\n",
        ),
        ("paths", "import sys\nsys.path.append('/usr')\n"),
        ("recurs", "import sys\nsys.setrecursionlimit(5000)\n"),
        ("masks", "import os\nos.umask(0o77)\n"),
        ("replaces", "import sys\nsys.stdout = None\n"),
        ("closes", "import sys\nsys.stdout.close()\n"),
        ("eventlet", ""),
        ("plugin", "import eventlet\n"),
        ("takes", "taken = b'x' * (600 << 20)\n"),
        ("telling", TELLING),
    ];
    let environment = Environment::with(&modules);
    let mut interpreter = environment.preloading("auto");
    let names: Vec<&str> = modules.iter().map(|(name, _)| *name).collect();
    twice(&interpreter, &names);
    until_preloaded(&interpreter, &["telling"]);
    let reasons = [
        ("holds", "its import leaves a thread"),
        ("opens", "its import leaves an open descriptor"),
        ("raises", "ValueError: no way"),
        ("needs", "ModuleNotFoundError: No module named 'not_there'"),
        ("prints", "its import prints"),
        ("warns", "its import prints"),
        ("sleeps", "its import takes more than 8 seconds"),
        ("exits", "its import ends Python (wait status 0)"),
        ("spawns", "its import leaves a process"),
        ("moves", "its import changes the working directory"),
        ("hooks", "its import changes how exceptions are shown"),
        ("handles", "its import changes signal handlers"),
        ("adds", "its import changes builtins"),
        ("wraps", "its import changes builtins"),
        ("paths", "its import changes the module path"),
        ("recurs", "its import changes the recursion limit"),
        ("masks", "its import changes the umask"),
        ("replaces", "its import changes the standard streams"),
        ("closes", "ValueError: I/O operation on closed file."),
        ("eventlet", "other libraries behave in another way when eventlet is imported"),
        ("plugin", "other libraries behave in another way when eventlet is imported"),
    ];
    let left_out = learned(&interpreter)["left_out"].clone();
    for (name, reason) in reasons {
        assert_eq!(left_out[name], reason, "{left_out}");
    }
    assert!(left_out["takes"].as_str().unwrap().starts_with("its import takes 600 MiB of memory, and "), "{left_out}");
    assert_eq!(left_out.as_object().unwrap().len(), 22, "{left_out}");
    // Nothing of a trial is left.
    interpreter.wait_until_empty();
    let health = interpreter.request("GET", "/healthz", &[], b"").json();
    assert_eq!((&health["learned"], &health["left_out"]), (&json!(["telling"]), &left_out));
    // The next one does not try them again.
    until("it is written", || fs::read_to_string(record(&interpreter)).unwrap().contains("its import prints"));
    interpreter.restart();
    until_preloaded(&interpreter, &["telling"]);
    assert_eq!(learned(&interpreter)["left_out"], left_out);
    let log = interpreter.log();
    for (name, _) in modules {
        let count = log.matches(&format!("module=\"{name}\"")).count();
        assert_eq!(count, usize::from(name != "telling"), "{name}: {log}");
    }
}

#[test]
fn no_file_of_a_program_and_no_strange_name_gets_into_the_python_that_programs_are_forked_from() {
    let environment = Environment::with(&[("telling", TELLING), ("last", "")]);
    let interpreter = environment.preloading("auto");
    let made = interpreter.execute("open('evil.py', 'w').write('import os; os._exit(1)')");
    let id = made["files"]["/workspace/evil.py"].as_str().unwrap().to_owned();
    let many: String = (0..5000).map(|number| format!("import m{number}\n")).collect();
    let long = format!("import {}\nimport {}", "a".repeat(5000), "a.".repeat(5000));
    for program in [
        "import evil",
        "import os; evil()\nimport ..\nimport .. as telling\nfrom .. import telling\nimport /workspace/evil\nimport telling; evil\n",
        "import \"evil\"\nimport evil\u{0}\nimport evil,../evil\nimport zygote, rehearsal, sitecustomize, matplotlib_to_file, script",
        "open('late.py', 'w').close()\nimport late",
        many.as_str(),
        long.as_str(),
        // A file of its own shadows it.
        "import telling",
    ] {
        for _ in 0..3 {
            let files = json!({ "/workspace/evil.py": id, "/workspace/telling.py": id });
            interpreter.run(&json!({ "source_code": program, "files": files }));
        }
    }
    twice(&interpreter, &["last"]);
    until_preloaded(&interpreter, &["last"]);
    assert_eq!(counted(&interpreter), ["last"]);
    assert_eq!(learned(&interpreter)["left_out"], json!({}));
    interpreter.is_unscathed();
}

#[test]
fn what_was_learned_outlives_the_interpreter_until_it_is_to_be_forgotten() {
    let environment = Environment::with(&[("telling", TELLING), ("raises", "raise ValueError")]);
    let mut interpreter = environment.preloading("auto");
    twice(&interpreter, &["telling", "raises"]);
    until_preloaded(&interpreter, &["telling"]);
    until("it is written", || fs::read_to_string(record(&interpreter)).is_ok_and(|text| text.contains("raises")));
    interpreter.restart();
    until_preloaded(&interpreter, &["telling"]);
    assert_eq!(interpreter.request("DELETE", "/v1/preload", &[], b"").status, 200);
    let nothing = json!({ "learns": true, "preloaded": ["telling"], "modules": [], "left_out": {} });
    assert_eq!(learned(&interpreter), nothing);
    until_preloaded(&interpreter, &[]);
    assert!(!record(&interpreter).exists());
    // It learns again.
    twice(&interpreter, &["telling"]);
    until("it is counted", || counted(&interpreter) == ["telling"]);
}

#[test]
fn a_module_that_is_removed_is_forgotten_in_silence() {
    let environment = Environment::with(&[("telling", TELLING), ("other", "")]);
    let mut interpreter = environment.preloading("auto");
    twice(&interpreter, &["telling", "other"]);
    until_preloaded(&interpreter, &["other", "telling"]);
    fs::remove_file(environment.packages().join("telling.py")).unwrap();
    interpreter.restart();
    until_preloaded(&interpreter, &["other"]);
    assert_eq!(counted(&interpreter), ["other"]);
    assert!(!interpreter.log().contains("module=\"telling\""), "{}", interpreter.log());
    twice(&interpreter, &["telling"]);
}

#[test]
fn nothing_is_learned_from_a_damaged_record() {
    let environment = Environment::with(&[("telling", TELLING)]);
    let mut interpreter = environment.preloading("auto");
    twice(&interpreter, &["telling"]);
    until_preloaded(&interpreter, &["telling"]);
    let whole = fs::read_to_string(record(&interpreter)).unwrap();
    for damaged in [&whole[..whole.len() / 2], "", "[]", &whole.replace("telling", "tell; ing"), &"x".repeat(2 << 20)] {
        interpreter.kill();
        fs::write(record(&interpreter), damaged).unwrap();
        interpreter.restart();
        assert_eq!(counted(&interpreter), Vec::<String>::new());
        interpreter.works();
    }
}

#[test]
fn a_fixed_list_learns_nothing() {
    let environment = Environment::with(&[("telling", TELLING), ("named", TELLING)]);
    for preload in ["named", ""] {
        let interpreter = environment.start(preload, &[], &["--most-slots", "2"]);
        interpreter.works();
        let spawner = interpreter.spawner();
        for _ in 0..4 {
            twice(&interpreter, &["telling"]);
        }
        // The next Python would have it.
        until("another Python takes over", || interpreter.spawner() != spawner);
        let learned = learned(&interpreter);
        assert_eq!(learned, json!({ "learns": false, "preloaded": [], "modules": [], "left_out": {} }), "{preload}");
        assert!(!record(&interpreter).exists());
        let [first, second] = [(); 2].map(|()| printed(&interpreter, "import telling; print(telling.imported)"));
        assert_ne!(first, second);
        let health = interpreter.request("GET", "/healthz", &[], b"").json();
        assert_eq!(health["preloaded"].as_array().unwrap().contains(&"named".into()), !preload.is_empty(), "{health}");
    }
}

#[test]
fn what_the_settings_import_keeps_nothing_from_being_learned() {
    // Never learned.
    let environment = Environment::with(&[("telling", TELLING), ("eventlet", "")]);
    let interpreter = environment.preloading("auto,eventlet");
    twice(&interpreter, &["telling"]);
    until_preloaded(&interpreter, &["telling"]);
}

#[test]
fn a_program_whose_caller_says_so_does_not_count() {
    let environment = Environment::with(&[("telling", TELLING), ("hidden", TELLING)]);
    let interpreter = environment.preloading("auto,json");
    for value in ["no", "anything"] {
        for _ in 0..3 {
            let body = json!({ "source_code": "import hidden; print(1)" }).to_string();
            let headers = ["Content-Type: application/json", &format!("X-Learn: {value}")];
            let answer = interpreter.request("POST", "/v1/execute", &headers, body.as_bytes());
            assert_eq!(answer.json()["stdout"], "1\n");
        }
    }
    // The twin.
    twice(&interpreter, &["telling"]);
    until_preloaded(&interpreter, &["telling"]);
    assert_eq!(counted(&interpreter), ["telling"]);
}
