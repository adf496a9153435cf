//! One program as `python3 script.py` runs it: the same frames, the same way of printing exceptions, the same end.
//!
//! The order of the end is that of `Py_FinalizeEx`, up to where all that is left is to free memory: the process ends there.

use alloc::vec::Vec;
use core::ffi::{CStr, c_int};

use crate::kernel;
use crate::python::{self, Exception, Raised, Reference};
use crate::teardown::{self, Collector, Imported};

/// What Python itself answers when its output cannot be flushed at the end.
const NOT_FLUSHED: c_int = 120;

const REHEARSAL: &CStr = c"/python-interpreter/rehearsal.py";

/// The functions of `runner/zygote.py`, which do what is easier said in Python.
pub struct Runner {
    prepare: Reference,
    begin: Reference,
    collector: Collector,
    imported: Imported,
}

impl Runner {
    pub fn find() -> Option<Self> {
        let module = python::main_module();
        let find = |name: &CStr| Some(module.attribute(name)).filter(|function| !function.is_null());
        Some(Runner {
            prepare: find(c"prepare")?,
            begin: find(c"begin")?,
            collector: Collector::of(&module)?,
            imported: Imported::new(find(c"IMPORTED")?),
        })
    }

    /// Keeps what there is now from the collector of every child.
    pub fn freeze(&self) {
        self.collector.freeze();
    }

    /// Makes the child ready for its program; with a rehearsal of one if there is time. Its failure is on stderr.
    pub fn prepare(&self, rehearse: bool) -> Option<()> {
        let ready = (!rehearse || self.rehearse()) && succeeded(&self.prepare.call());
        if !ready {
            python::print_exception();
        }
        ready.then_some(())
    }

    /// What a program's beginning and end change of the zygote's memory is copied for this process now, and not in a program's time.
    fn rehearse(&self) -> bool {
        let ran = succeeded(&self.prepare.call()) && {
            let module = self.begin.call_with(&python::bytes(c"rehearsal.py".to_bytes_with_nul()));
            let stream = kernel::open_stream(REHEARSAL);
            succeeded(&module) && !stream.is_null() && python::run_file(stream, REHEARSAL, &module)
        };
        self.imported.let_go_of_others(&self.collector);
        ran && flush_streams()
    }
}

fn succeeded(result: &Reference) -> bool {
    !result.is_null()
}

/// Runs `script NUL variable NUL variable NUL …`; the script lies in the workspace.
pub fn run(runner: &Runner, job: &[u8]) -> ! {
    let module = runner.begin.call_with(&python::bytes(job));
    let path: Vec<u8> = [b"/workspace/", job].concat();
    let (Ok(path), false) = (CStr::from_bytes_until_nul(&path), module.is_null()) else {
        python::print_exception();
        kernel::exit(1)
    };
    let stream = kernel::open_stream(path);
    if stream.is_null() {
        let _ = kernel::write_all(2, b"the program's file cannot be opened\n");
        kernel::exit(2);
    }
    let mut interrupted = false;
    let status = if python::run_file(stream, path, &module) {
        0
    } else {
        match python::exception() {
            Exception::SystemExit => exit_code(&python::take_exception()),
            kind => {
                interrupted = matches!(kind, Exception::KeyboardInterrupt);
                if python::print_exception() { exit_code(&python::take_exception()) } else { 1 }
            }
        }
    };
    drop(module);
    let status = end(runner).unwrap_or(status);
    kernel::flush_c_streams();
    if interrupted {
        // As Python does, so that the exit code tells of the signal.
        kernel::reset_signal(kernel::SIGINT);
        kernel::signal_process(kernel::own_process_id(), kernel::SIGINT);
    }
    kernel::exit(status)
}

/// The exit code that Python gives to a SystemExit; what is no number is printed.
fn exit_code(raised: &Raised) -> c_int {
    let code = raised.value.attribute(c"code");
    if code.is_null() {
        python::forget_exception();
    }
    match &code {
        code if code.is_none() => 0,
        code if code.is_number() => {
            let number = code.as_number();
            // Too large for C is -1.
            python::forget_exception();
            number & 0xFF
        }
        code => {
            python::write_to_stderr(if code.is_null() { &raised.value } else { code });
            1
        }
    }
}

/// Waits for threads, calls what was registered for the end, flushes, and lets the program's modules go. An exit code of its
/// own where the output cannot be flushed.
fn end(runner: &Runner) -> Option<c_int> {
    for (module, function) in [(c"threading", c"_shutdown"), (c"atexit", c"_run_exitfuncs")] {
        let module = python::imported_module(module);
        if !module.is_null() && module.attribute(function).call().is_null() {
            python::report_unraisable(&module);
        }
    }
    let first = flush_streams();
    runner.collector.collect_for_the_last_time();
    teardown::delete_special();
    runner.imported.let_go_of_others(&runner.collector);
    let second = flush_streams();
    (!first || !second).then_some(NOT_FLUSHED)
}

/// Writes what Python holds of the output. False where that fails.
fn flush_streams() -> bool {
    let mut written = true;
    for name in [c"stdout", c"stderr"] {
        let stream = python::system_object(name);
        if stream.is_null() || stream.is_none() || stream.attribute(c"closed").is_true() {
            continue;
        }
        if stream.attribute(c"flush").call().is_null() {
            written = false;
            if name == c"stdout" {
                python::report_unraisable(&stream);
            } else {
                python::forget_exception();
            }
        }
    }
    written
}
