//! The zygote: forks a child into each slot on request, and reports to the interpreter how each child ended. It has a single thread, and
//! never sees what its children run.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_int;

use crate::child;
use crate::enter::Refused;
use crate::kernel::{self, Descriptor, Errno};
use crate::messages;
use crate::program::Runner;
use crate::protocol::{CONFINEMENT_LIMIT, Confinement, Report, SlotRequest, ZYGOTE_SOCKET as SOCKET};
use crate::python;

type Request = SlotRequest<Descriptor>;

/// A child that has not been reaped yet, and the socket for its report.
struct Living {
    process: c_int,
    control: Descriptor,
}

struct Zygote {
    confinement: Confinement,
    runner: Runner,
    own_pid_namespace: Descriptor,
    /// A signalfd for SIGCHLD.
    ends: Descriptor,
    living: Vec<Living>,
}

/// Never returns: otherwise Python would go on to its own end.
pub fn run() -> ! {
    match start().and_then(|mut zygote| zygote.serve()) {
        Ok(()) => kernel::exit(0),
        Err(Refused { step, error: Errno(number) }) => {
            let _ = kernel::write_all(2, format!("cannot {step}: error {number}\n").as_bytes());
            kernel::exit(1)
        }
    }
}

fn start() -> Result<Zygote, Refused> {
    let refused = |step| move |error| Refused { step, error };
    let mut message = vec![0; CONFINEMENT_LIMIT];
    let (length, _) = messages::receive_message(SOCKET, &mut message, &mut []).map_err(refused("receive"))?;
    let confinement = Confinement::read(&message[..length]).ok_or(Errno(0)).map_err(refused("read the confinement"))?;
    let runner = Runner::find().ok_or(Errno(0)).map_err(refused("find the runner's functions"))?;
    let own_pid_namespace = kernel::open_read_only(c"/proc/self/ns/pid").map_err(refused("open the pid namespace"))?;
    let ends = kernel::block_child_signal().map_err(refused("watch children"))?;
    python::forget_the_script();
    runner.freeze();
    gather_memory();
    messages::send_message(SOCKET, b"ready").map_err(refused("report"))?;
    Ok(Zygote { confinement, runner, own_pid_namespace, ends, living: Vec::new() })
}

/// Moves the zygote's memory from many small pages into few large ones. The kernel visits every page whenever a child is forked, and
/// again when it ends. What a child changes is still copied in small pages.
fn gather_memory() {
    let Ok(list) = kernel::open_read_only(c"/proc/self/maps") else { return };
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = kernel::read_into(list, &mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    kernel::close_descriptor(list);
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| core::str::from_utf8(line).ok());
    lines.filter_map(own_memory).for_each(|(from, to)| kernel::gather_memory(from, to));
}

/// The bounds of a private writable mapping without a file. A line is "from-to rights offset device inode".
fn own_memory(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let is_own = fields.next()? == "rw-p" && fields.nth(2)? == "0";
    let number = |text| usize::from_str_radix(text, 16).ok();
    is_own.then_some((number(from)?, number(to)?))
}

impl Zygote {
    /// Serves until the spawner closes the socket.
    fn serve(&mut self) -> Result<(), Refused> {
        loop {
            let waited = kernel::wait_for(SOCKET, self.ends);
            let (request, ended) = waited.map_err(|error| Refused { step: "wait", error })?;
            if ended {
                self.report_ends();
            }
            if request {
                let mut descriptors = [-1; Request::DESCRIPTORS];
                let mut rehearsal = [0; 8];
                let received = messages::receive_message(SOCKET, &mut rehearsal, &mut descriptors);
                let (length, count) = received.map_err(|error| Refused { step: "receive", error })?;
                if length == 0 {
                    return Ok(());
                }
                match Request::from_list(descriptors[..count].iter().copied()) {
                    Some(request) => self.fork(&request, &rehearsal[..length])?,
                    None => descriptors[..count].iter().for_each(|descriptor| kernel::close_descriptor(*descriptor)),
                }
            }
        }
    }

    /// Forks a child into the slot. A failed fork is reported on the slot's socket. An error is returned only if the zygote cannot go on.
    fn fork(&mut self, request: &Request, rehearsal: &[u8]) -> Result<(), Refused> {
        match self.try_fork(request, rehearsal) {
            Ok(process) => self.living.push(Living { process, control: request.control }),
            Err(error) => {
                child::refuse(request.control, &Refused { step: "fork into the slot", error });
                kernel::close_descriptor(request.control);
            }
        }
        for descriptor in [request.slot, request.stdout, request.stderr, request.rules].into_iter().chain(request.group)
        {
            kernel::close_descriptor(descriptor);
        }
        // Otherwise the next child would be born into this slot.
        kernel::join_namespaces(self.own_pid_namespace, kernel::CLONE_NEWPID)
            .map_err(|error| Refused { step: "return to its own pid namespace", error })
    }

    fn try_fork(&self, request: &Request, rehearsal: &[u8]) -> Result<c_int, Errno> {
        kernel::join_namespaces(request.slot, kernel::CLONE_NEWPID)?;
        python::before_fork();
        let forked = kernel::fork_process();
        if let Ok(0) = forked {
            python::after_fork_in_child();
            child::run(&self.confinement, &self.runner, request, rehearsal);
        }
        python::after_fork_in_parent();
        forked
    }

    fn report_ends(&mut self) {
        let _ = kernel::read_into(self.ends, &mut [0; 128]);
        while let Some((process, status, milliseconds)) = kernel::reap() {
            let Some(place) = self.living.iter().position(|child| child.process == process) else { continue };
            let child = self.living.swap_remove(place);
            let report = Report::Exited { status, cpu_milliseconds: milliseconds };
            // It fails only if the interpreter does not wait for the slot any more.
            let _ = messages::send_message(child.control, report.write().as_bytes());
            kernel::close_descriptor(child.control);
        }
    }
}
