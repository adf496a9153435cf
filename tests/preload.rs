//! What is imported ahead of programs is what they would have imported themselves: a program is to find a module as it is after
//! `import` and a fork, and no module may break the fork.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/interpreter.rs"]
mod interpreter;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use interpreter::Interpreter;

/// A virtual environment of the system's Python with modules of its own.
struct Environment(tempfile::TempDir);

impl Environment {
    /// `modules` are pairs of a name and a text.
    fn with(modules: &[(&str, &str)]) -> Self {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let directory = tempfile::tempdir().unwrap();
        // An ordinary user is to look into it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let made =
            Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(directory.path()).status();
        assert!(made.unwrap().success());
        let library = fs::read_dir(directory.path().join("lib")).unwrap().next().unwrap().unwrap().path();
        for (name, text) in modules {
            fs::write(library.join(format!("site-packages/{name}.py")), text).unwrap();
        }
        Environment(directory)
    }

    fn preloading(&self, modules: &str) -> Interpreter {
        let python = self.0.path().join("bin/python");
        Interpreter::start_with(&[
            ("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap()),
            ("PYTHON_INTERPRETER_MCP_PRELOAD", modules),
        ])
    }
}

fn printed(interpreter: &Interpreter, program: &str) -> String {
    let result = interpreter.execute(program);
    assert_eq!((&result["stderr"], &result["exit_code"]), (&"".into(), &0.into()), "{result}");
    result["stdout"].as_str().unwrap().to_owned()
}

/// Libraries in C++ keep the thread's state itself: with another one in its place they crash.
#[test]
fn a_program_finds_what_a_module_keeps_for_its_thread() {
    let module = "
import contextvars, ctypes, decimal, threading
local = threading.local()
local.kept = 1
variable = contextvars.ContextVar('variable')
variable.set(2)
decimal.getcontext().prec = 7
state = ctypes.pythonapi.PyThreadState_Get
state.restype = ctypes.c_void_p
own_state, own_thread = state(), threading.get_ident()
";
    let environment = Environment::with(&[("keeps", module)]);
    let program = "
import decimal, keeps, threading
print(getattr(keeps.local, 'kept', 'LOST'), keeps.variable.get('LOST'), decimal.getcontext().prec)
print(keeps.state() == keeps.own_state, threading.get_ident() == keeps.own_thread)
print(threading.current_thread() is threading.main_thread())
";
    for preload in ["", "keeps"] {
        let interpreter = environment.preloading(preload);
        assert_eq!(printed(&interpreter, program), "1 2 7\nTrue True\nTrue\n", "preloaded: {preload:?}");
    }
}
