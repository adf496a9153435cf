//! The zygote's process, as the spawner starts it: the host's Python in the outer sandbox, with modules preloaded.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitStatus};

use crate::channel::{Failure, SpawnerReport, send_bytes};
use crate::launch::Launch;
use crate::protocol::ZYGOTE_SOCKET;
use crate::runner;
use crate::sandbox::{self, Policy, step};

/// Above the process ids in slots, which count from one; below the smallest usual `pid_max`.
const FAR_PROCESS_ID: &str = "30000";
/// The zygote's last message, from `zygote/src/serve.rs`.
const READY: &[u8] = b"ready";
/// Longest message of the zygote's, in bytes.
const REPORT_LIMIT: usize = 48 * 1024;
/// How much of the zygote's output a failure quotes, in bytes.
const QUOTED_OUTPUT: usize = 1000;

pub struct ZygoteProcess {
    pub process: Pid,
    /// The slots' first processes write their requests for a child here.
    pub socket: OwnedFd,
    /// What Python and the preloaded modules print.
    pub output: OwnedFd,
    last_output: Vec<u8>,
    python: String,
}

impl ZygoteProcess {
    pub fn start(policy: &Policy, launch: &Launch) -> Result<Self, Failure> {
        let confinement = sandbox::confinement(policy).write();
        let python = launch.executable.display().to_string();
        let failed = |error: io::Error| Failure::Python { python: python.clone(), reason: error.to_string() };
        // Libraries detect a fork by a changed process id (OpenSSL reseeds itself then), so no child may have the zygote's id.
        step("number the zygote", || fs::write("/proc/sys/kernel/ns_last_pid", FAR_PROCESS_ID))?;
        let started = || {
            let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            // A pipe, because Python inspects its streams once, at its start, and a program's streams are pipes.
            let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&output, true)?;
            let stderr = stdout.try_clone()?;
            let mut command = Command::new(&launch.executable);
            let (room, learned) = match &launch.learned {
                Some(learned) => (learned.room.to_string(), learned.names.join(",")),
                None => Default::default(),
            };
            command.arg(runner::ZYGOTE_SCRIPT).arg(runner::ZYGOTE_LIBRARY).args([room, learned]).args(&launch.preload);
            command.env_clear().envs(&launch.environment).current_dir("/");
            command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
            sandbox::pass_on(&mut command, theirs, ZYGOTE_SOCKET);
            sandbox::keep_system_administration(&mut command);
            sandbox::start_with_termination_signals_blocked(&mut command);
            let child = command.spawn()?;
            drop(command);
            send_bytes(&socket, &confinement, &[])?;
            Ok((child, socket, output))
        };
        let (child, socket, output) =
            step("start the zygote", || Ok(started())).map_err(Failure::from)?.map_err(failed)?;
        Ok(ZygoteProcess { process: Pid::from_child(&child), socket, output, last_output: Vec::new(), python })
    }

    /// Receives a message of the zygote's: a report as JSON or, at last, that it is ready. `None` for anything else, which a module may have
    /// written. An error if the zygote has ended.
    pub fn receive(&mut self) -> io::Result<Option<SpawnerReport>> {
        let mut message = vec![0; REPORT_LIMIT];
        match rustix::io::read(&self.socket, &mut message)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length if &message[..length] == READY => Ok(Some(SpawnerReport::Ready)),
            length => Ok(serde_json::from_slice(&message[..length]).ok()),
        }
    }

    /// Moves the zygote's output into the log, so that the pipe never fills.
    pub fn log_output(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = rustix::io::read(&self.output, &mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            if !text.trim().is_empty() {
                tracing::warn!(text = text.trim_end(), "output of the zygote");
            }
            self.last_output.extend(&buffer[..length]);
            let excess = self.last_output.len().saturating_sub(QUOTED_OUTPUT);
            self.last_output.drain(..excess);
        }
    }

    /// The failure to report after the zygote has ended; without its wait status if that is not known.
    pub fn end(&mut self, status: Option<WaitStatus>) -> Failure {
        let signal = status.and_then(WaitStatus::terminating_signal);
        let how = match (signal, status.and_then(WaitStatus::exit_status)) {
            (Some(signal), _) if signal == Signal::KILL.as_raw() => return Failure::Killed(self.python.clone()),
            (Some(signal), _) => format!("it was ended by signal {signal}"),
            (None, Some(code)) => format!("it ended with exit code {code}"),
            (None, None) => "it has ended".to_owned(),
        };
        self.failure(&how)
    }

    /// A failure with the zygote's last output.
    pub fn failure(&mut self, how: &str) -> Failure {
        self.log_output();
        let output = String::from_utf8_lossy(&self.last_output);
        let output = output.trim();
        let reason = if output.is_empty() { how.to_owned() } else { format!("{how}; its last output: {output}") };
        Failure::Python { python: self.python.clone(), reason }
    }
}
