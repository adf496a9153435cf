//! A child from its fork to its program: it enters the slot, prepares Python, waits for its one job, and does it.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr;

use crate::enter::{self, Refused};
use crate::kernel::{self, Descriptor, Errno};
use crate::program::{self, Runner};
use crate::protocol::{Confinement, JOB_LIMIT, Job, Report, SlotRequest};

/// The first descriptor after stdin, stdout and stderr.
const CONTROL: Descriptor = 3;

/// Reports on a slot's socket that there will be no child.
pub fn refuse(control: Descriptor, refused: &Refused) {
    let report = Report::Refused { step: refused.step, error: refused.error.0 };
    // It fails only if the interpreter does not wait for the slot any more.
    let _ = kernel::send_message(control, report.write().as_bytes());
}

/// The whole life of a child.
pub fn run(confinement: &Confinement, runner: &Runner, request: &SlotRequest<Descriptor>, rehearse: bool) -> ! {
    let ready = enter::enter(confinement, request)
        .and_then(|()| take_streams(request).map_err(|error| Refused { step: "take its streams", error }))
        .and_then(|()| runner.prepare(rehearse).ok_or(Refused { step: "prepare Python", error: Errno(0) }));
    if let Err(refused) = ready {
        refuse(request.control, &refused);
        kernel::exit(1);
    }
    let mut job = vec![0; JOB_LIMIT];
    let told = kernel::send_message(CONTROL, Report::Ready.write().as_bytes());
    let length = match told.and_then(|()| kernel::receive_message(CONTROL, &mut job, &mut [])) {
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

/// stdin, stdout, stderr and the control socket become descriptors 0 to 3. Every other descriptor is closed.
fn take_streams(request: &SlotRequest<Descriptor>) -> Result<(), Errno> {
    let null = kernel::open_read_only(c"/dev/null")?;
    kernel::duplicate_to(null, 0)?;
    kernel::duplicate_to(request.stdout, 1)?;
    kernel::duplicate_to(request.stderr, 2)?;
    kernel::duplicate_to(request.control, CONTROL)?;
    kernel::close_from(CONTROL + 1)
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
