//! A child from its fork to its program: it enters the slot, prepares Python, waits for its one job, and does it.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr;

use crate::enter::{self, Refused};
use crate::kernel::{self, Descriptor, Errno};
use crate::messages;
use crate::program::{self, Runner};
use crate::protocol::{Confinement, JOB_LIMIT, Job, Report, SlotRequest};

/// The first descriptor after stdin, stdout and stderr.
const CONTROL: Descriptor = 3;
const LISTENER: Descriptor = 4;

/// Reports on a slot's socket that there will be no child.
pub fn refuse(control: Descriptor, refused: &Refused) {
    let report = Report::Refused { step: refused.step, error: refused.error.0 };
    // It fails only if the interpreter does not wait for the slot any more.
    let _ = messages::send_message(control, report.write().as_bytes());
}

/// The whole life of a child.
pub fn run(confinement: &Confinement, runner: &Runner, request: &SlotRequest<Descriptor>, rehearsal: &[u8]) -> ! {
    let entered = enter::enter(confinement, request).and_then(|listener| {
        let taken = take_descriptors(request, listener).map(|()| listener.is_some());
        taken.map_err(|error| Refused { step: "take its descriptors", error })
    });
    let has_listener = entered.unwrap_or_else(|refused| {
        refuse(request.control, &refused);
        kernel::exit(1)
    });
    if runner.prepare(rehearsal).is_none() {
        refuse(CONTROL, &Refused { step: "prepare Python", error: Errno(0) });
        kernel::exit(1);
    }
    let mut job = vec![0; JOB_LIMIT];
    let told = report_ready(has_listener);
    let length = match told.and_then(|()| messages::receive_message(CONTROL, &mut job, &mut [])) {
        Ok((length, _)) if length > 0 => length,
        // The interpreter does not need this child any more.
        _ => kernel::exit(0),
    };
    kernel::close_descriptor(CONTROL);
    match Job::read(&job[..length]) {
        Some(Job::Run(texts)) => program::run(runner, texts),
        Some(Job::Execute(texts)) => execute(texts),
        None => kernel::exit(1),
    }
}

/// Reports that the child waits for its job, and hands over the listener if it can.
fn report_ready(has_listener: bool) -> Result<(), Errno> {
    let report = Report::Ready.write();
    // The kernel bounds the descriptors that all processes of a user have sent and nobody has received. Without the listener, the interpreter
    // kills the whole slot before it answers.
    let handed_over = has_listener && messages::send_descriptor(CONTROL, report.as_bytes(), LISTENER).is_ok();
    if has_listener {
        kernel::close_descriptor(LISTENER);
    }
    if handed_over { Ok(()) } else { messages::send_message(CONTROL, report.as_bytes()) }
}

/// stdin, stdout, stderr, the control socket and the listener, if there is one, become descriptors 0 to 4. Every other descriptor is closed.
fn take_descriptors(request: &SlotRequest<Descriptor>, listener: Option<Descriptor>) -> Result<(), Errno> {
    let null = kernel::open_read_only(c"/dev/null")?;
    kernel::duplicate_to(null, 0)?;
    kernel::duplicate_to(request.stdout, 1)?;
    kernel::duplicate_to(request.stderr, 2)?;
    kernel::duplicate_to(request.control, CONTROL)?;
    let Some(listener) = listener else { return kernel::close_from(CONTROL + 1) };
    kernel::duplicate_to(listener, LISTENER)?;
    kernel::close_from(LISTENER + 1)
}

/// Replaces this process by a new Python, for variables that act only when Python starts. See [`Job::Execute`].
fn execute(job: &[u8]) -> ! {
    let texts: Vec<*const c_char> =
        job.split_inclusive(|byte| *byte == 0).map(|text| text.as_ptr().cast::<c_char>()).collect();
    if let [path, argument, variables @ ..] = texts.as_slice()
        && job.last() == Some(&0)
    {
        let variables: Vec<_> = variables.iter().copied().chain([ptr::null()]).collect();
        let Errno(number) = kernel::execute(*path, &[*path, *argument, ptr::null()], &variables);
        let _ = kernel::write_all(2, format!("cannot start Python: error {number}\n").as_bytes());
    }
    kernel::exit(126)
}
