//! One program as `python3 script.py` runs it: the same frames, the same way of printing exceptions, the same end.
//!
//! The end follows the order of `Py_FinalizeEx`, up to the point where only memory is left to be freed. There the process exits.

use alloc::vec::Vec;
use core::ffi::{CStr, c_int};

use crate::kernel;
use crate::protocol::{REHEARSAL, SlotRequest, WORKSPACE};
use crate::python::{self, Exception, Raised, Reference};
use crate::teardown::{self, GarbageCollector, Imported};

/// Python's own exit code when its output cannot be flushed at the end.
const NOT_FLUSHED: c_int = 120;

/// The functions of `runner/zygote.py`: what is simpler to write in Python.
pub struct Runner {
    prepare: Reference,
    begin: Reference,
    rehearse_imports: Reference,
    collector: GarbageCollector,
    imported: Imported,
}

impl Runner {
    pub fn find() -> Option<Self> {
        let module = python::main_module();
        let find = |name: &CStr| Some(module.attribute(name)).filter(|function| !function.is_null());
        Some(Runner {
            prepare: find(c"prepare")?,
            begin: find(c"begin")?,
            rehearse_imports: find(c"rehearse_imports")?,
            collector: GarbageCollector::of(&module)?,
            imported: Imported::new(find(c"IMPORTED")?),
        })
    }

    /// Excludes all existing objects from garbage collection, here and in every child.
    pub fn freeze(&self) {
        self.collector.freeze();
    }

    /// Prepares the child for its program, after a rehearsal. A failure is printed to stderr.
    pub fn prepare(&self, rehearsal: &[u8]) -> Option<()> {
        let rehearsed =
            rehearsal == SlotRequest::<()>::NOTHING || self.rehearse(rehearsal == SlotRequest::<()>::IMPORTS);
        let ready = rehearsed && succeeded(&self.prepare.call());
        if !ready {
            python::print_exception();
        }
        ready.then_some(())
    }

    /// Runs a small program. The pages that the start and the end of any program change are copied now, and not in the program's time.
    fn rehearse(&self, with_imports: bool) -> bool {
        let ran = succeeded(&self.prepare.call()) && {
            let module = self.begin.call_with(&python::bytes(c"rehearsal.py".to_bytes_with_nul()));
            let stream = kernel::open_stream(REHEARSAL);
            succeeded(&module)
                && !stream.is_null()
                && python::run_file(stream, REHEARSAL, &module)
                && (!with_imports || succeeded(&self.rehearse_imports.call()))
        };
        // A failure's exception is printed by the caller. Until then nothing else may be called.
        if ran {
            self.imported.destroy_other_modules(&self.collector);
        }
        ran && flush_streams()
    }
}

fn succeeded(result: &Reference) -> bool {
    !result.is_null()
}

/// Does a [`Job::Run`](crate::protocol::Job::Run).
pub fn run(runner: &Runner, job: &[u8]) -> ! {
    let module = runner.begin.call_with(&python::bytes(job));
    let path: Vec<u8> = [WORKSPACE.to_bytes(), b"/", job].concat();
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
        // As Python does, so that the wait status names the signal.
        kernel::reset_signal(kernel::SIGINT);
        kernel::signal_process(kernel::own_process_id(), kernel::SIGINT);
    }
    // The kernel closes descriptors only after it has taken the memory apart, which takes longer than most programs. The interpreter answers no
    // sooner than the output has ended.
    let _ = kernel::close_from(0);
    // The output has woken the interpreter, mostly on this CPU, where it would wait until the memory is gone. When it has run for a moment, the
    // end wakes it on any idle CPU: a call 0.1 s after another takes 0.81 of its time, with pandas and pyplot preloaded 0.71.
    kernel::yield_processor();
    kernel::exit(status)
}

/// The exit code of a SystemExit. A code that is not a number is printed, as Python does.
fn exit_code(raised: &Raised) -> c_int {
    let code = raised.value.attribute(c"code");
    if code.is_null() {
        python::forget_exception();
    }
    match &code {
        code if code.is_none() => 0,
        code if code.is_number() => {
            let number = code.as_number();
            // A number that is too large for C is -1, with an exception.
            python::forget_exception();
            number & 0xFF
        }
        code => {
            python::write_to_stderr(if code.is_null() { &raised.value } else { code });
            1
        }
    }
}

/// Waits for threads, calls `atexit` functions, flushes the output, and destroys the program's modules. Returns an exit code if the output
/// cannot be flushed.
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
    runner.imported.destroy_other_modules(&runner.collector);
    let second = flush_streams();
    (!first || !second).then_some(NOT_FLUSHED)
}

/// Flushes stdout and stderr. False if that fails.
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
