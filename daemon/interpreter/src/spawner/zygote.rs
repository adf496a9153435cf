//! The zygote as the spawner holds it: the host's Python, started in the outer sandbox with what children are to find imported.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::channel::{Failure, send_bytes};
use crate::python::Launch;
use crate::runner;
use crate::sandbox::{self, Policy, step};

/// Where the native part looks for its socket.
const SOCKET: i32 = 3;
/// Beyond the ids that children have in their slots, which are counted from one; below the smallest usual limit of ids.
const FAR_PROCESS_ID: &str = "30000";
/// How much of what it prints is told when it fails, in bytes.
const LAST_WORDS: usize = 1000;

pub struct Zygote {
    pub process: Pid,
    /// Requests of slots for a child are written here, by their first processes.
    pub socket: OwnedFd,
    /// What Python and the preloaded modules print.
    pub output: OwnedFd,
    last_words: Vec<u8>,
    python: String,
}

impl Zygote {
    pub fn start(policy: &Policy, launch: &Launch) -> Result<Self, Failure> {
        let confinement = sandbox::confinement(policy);
        let python = launch.executable.display().to_string();
        let failed = |error: io::Error| Failure::Python { python: python.clone(), reason: error.to_string() };
        // Libraries notice a fork by their process's id (OpenSSL seeds itself anew then): the zygote must have one that no child has.
        step("number the zygote", || fs::write("/proc/sys/kernel/ns_last_pid", FAR_PROCESS_ID))?;
        let started = || {
            let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            // A pipe, because that is what a program's own streams are, and Python looks at them once, at its start.
            let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&output, true)?;
            let stderr = stdout.try_clone()?;
            let mut command = Command::new(&launch.executable);
            command.arg(runner::ZYGOTE).arg(runner::LIBRARY).args(&launch.preload);
            command.env_clear().envs(&launch.environment).current_dir("/");
            command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
            sandbox::pass_on(&mut command, theirs, SOCKET);
            sandbox::keep_to_join_namespaces(&mut command);
            sandbox::start_without_requests_to_end(&mut command);
            let child = command.spawn()?;
            drop(command);
            send_bytes(&socket, &confinement, &[])?;
            Ok((child, socket, output))
        };
        let (child, socket, output) =
            step("start the zygote", || Ok(started())).map_err(Failure::from)?.map_err(failed)?;
        Ok(Zygote { process: Pid::from_child(&child), socket, output, last_words: Vec::new(), python })
    }

    /// Receives its only message, that it is ready. An error if it has ended.
    pub fn receive(&mut self) -> io::Result<()> {
        match rustix::io::read(&self.socket, &mut [0; 64])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Takes what it has printed into the log. A module that prints much only loses it: the pipe never fills.
    pub fn log_output(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = rustix::io::read(&self.output, &mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            if !text.trim().is_empty() {
                tracing::warn!(text = text.trim_end(), "the zygote says");
            }
            self.last_words.extend(&buffer[..length]);
            let excess = self.last_words.len().saturating_sub(LAST_WORDS);
            self.last_words.drain(..excess);
        }
    }

    /// Why there is no zygote any more.
    pub fn failure(&mut self, how: &str) -> Failure {
        self.log_output();
        let words = String::from_utf8_lossy(&self.last_words);
        let words = words.trim();
        let reason = if words.is_empty() { how.to_owned() } else { format!("{how}; it said: {words}") };
        Failure::Python { python: self.python.clone(), reason }
    }
}
