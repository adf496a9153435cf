//! A child from its birth to its program: enters the slot, makes itself ready, waits for its one job, and becomes what that says.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr;

use crate::enter::{self, Confinement, Refused};
use crate::kernel::{self, Descriptor, Errno};
use crate::program::{self, Runner};

/// Longest job; its text is in a file.
const JOB_LIMIT: usize = 192 * 1024;
/// The first descriptor after stdin, stdout and stderr.
const CONTROL: Descriptor = 3;

/// A slot that wants a child.
pub struct Request {
    /// pidfd of its first process.
    pub slot: Descriptor,
    /// The interpreter's socket: jobs come from it, and what becomes of the child is told there.
    pub control: Descriptor,
    stdout: Descriptor,
    stderr: Descriptor,
    /// Landlock ruleset.
    rules: Descriptor,
    /// `cgroup.procs` of its control group, where there is one.
    group: Option<Descriptor>,
    /// Nobody waits for the child yet.
    rehearse: bool,
}

impl Request {
    pub const DESCRIPTORS: usize = 6;

    pub fn new(descriptors: &[Descriptor], rehearse: bool) -> Option<Self> {
        let (&[slot, control, stdout, stderr, rules], rest) = descriptors.split_first_chunk()?;
        Some(Request { slot, control, stdout, stderr, rules, group: rest.first().copied(), rehearse })
    }

    pub fn close_all_but_control(&self) {
        for descriptor in [self.slot, self.stdout, self.stderr, self.rules].into_iter().chain(self.group) {
            kernel::close_descriptor(descriptor);
        }
    }
}

/// Tells the interpreter that there will be no child.
pub fn refuse(control: Descriptor, refused: &Refused) {
    let text = format!("{{\"Refused\":{{\"step\":\"{}\",\"error\":{}}}}}", refused.step, refused.error.0);
    // Whoever is gone needs no answer.
    let _ = kernel::send_message(control, text.as_bytes());
}

/// All of a child's life.
pub fn run(confinement: &Confinement, runner: &Runner, request: &Request) -> ! {
    let ready = enter::enter(confinement, request.slot, request.rules, request.group)
        .and_then(|()| take_streams(request).map_err(|error| Refused { step: "take its streams", error }))
        .and_then(|()| runner.prepare(request.rehearse).ok_or(Refused { step: "prepare Python", error: Errno(0) }));
    if let Err(refused) = ready {
        refuse(request.control, &refused);
        kernel::exit(1);
    }
    let mut job = vec![0; JOB_LIMIT];
    let told = kernel::send_message(CONTROL, b"\"Ready\"");
    let length = match told.and_then(|()| kernel::receive_message(CONTROL, &mut job, &mut [])) {
        Ok((length, _)) if length > 0 => length,
        // The interpreter has no use for this child any more.
        _ => kernel::exit(0),
    };
    kernel::close_descriptor(CONTROL);
    match job[..length].split_first() {
        Some((b'r', job)) => program::run(runner, job),
        Some((b'x', job)) => execute(job),
        _ => kernel::exit(1),
    }
}

/// stdin, stdout, stderr and the control socket become 0 to 3; nothing else stays open.
fn take_streams(request: &Request) -> Result<(), Errno> {
    let null = kernel::open_read_only(c"/dev/null")?;
    kernel::duplicate_to(null, 0)?;
    kernel::duplicate_to(request.stdout, 1)?;
    kernel::duplicate_to(request.stderr, 2)?;
    kernel::duplicate_to(request.control, CONTROL)?;
    kernel::close_from(CONTROL + 1)
}

/// Becomes another program: `path NUL argument NUL variable NUL variable NUL …`. For what acts only when Python starts.
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
