//! The user's systemd, as far as control groups are concerned: which units it has delegated, and a scope for this process.
//!
//! It is asked through systemctl and busctl, which are installed wherever systemd is. A D-Bus client would be larger than this file.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, PidfdFlags, getpid, getuid, pidfd_open};

use super::hierarchy::{Hierarchy, own_group};

/// Longest wait for an answer, and for the scope to start.
const DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two checks whether this process is in its scope.
const PAUSE: Duration = Duration::from_millis(2);

pub struct Manager {
    /// The group of `user@UID.service`, as /proc names it.
    group: PathBuf,
    runtime_directory: OsString,
}

impl Manager {
    /// `None` if no systemd runs for this user. Also in another pid namespace than systemd's: there, the id of this process would name
    /// another one to systemd.
    pub fn of_this_user(hierarchy: &Hierarchy) -> Option<Self> {
        let user = getuid().as_raw();
        let group = PathBuf::from(format!("/user.slice/user-{user}.slice/user@{user}.service"));
        let processes = fs::read_to_string(hierarchy.directory(&group).ok()?.join("init.scope/cgroup.procs")).ok()?;
        let sees_the_same = |process: &str| has_one_id(process) && has_one_id("self");
        let given =
            std::env::var_os("XDG_RUNTIME_DIR").filter(|place| Path::new(place).join("systemd/private").exists());
        let runtime_directory = given.unwrap_or_else(|| format!("/run/user/{user}").into());
        processes.lines().any(sees_the_same).then_some(Manager { group, runtime_directory })
    }

    /// Whether it manages `group`.
    pub fn has(&self, group: &Path) -> bool {
        group.starts_with(&self.group)
    }

    /// The unit whose group is `group`.
    pub fn unit<'a>(&self, group: &'a Path) -> Option<&'a str> {
        let name = group.strip_prefix(&self.group).ok()?.file_name()?.to_str()?;
        (name.ends_with(".service") || name.ends_with(".scope")).then_some(name)
    }

    pub fn delegates(&self, unit: &str) -> bool {
        self.property(unit, "Delegate").is_ok_and(|value| value == "yes")
    }

    /// Whether this process is the main process of `unit`.
    pub fn is_for_this(&self, unit: &str) -> bool {
        let this = getpid().as_raw_nonzero().to_string();
        self.property(unit, "MainPID").is_ok_and(|value| value == this)
    }

    fn property(&self, unit: &str, name: &str) -> io::Result<String> {
        let name = format!("--property={name}");
        Ok(self.ask("systemctl", &["--user", "show", "--value", &name, "--", unit])?.trim().to_owned())
    }

    /// Moves this process to a new scope, which ends with its last process.
    pub fn scope(&self) -> io::Result<()> {
        let process = getpid().as_raw_nonzero().to_string();
        let name = format!("python-interpreter-{process}.scope");
        let manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
        let properties = [
            ["Description", "s", "Embedded Python interpreter"].as_slice(),
            &["PIDs", "au", "1", &process],
            &["Delegate", "b", "true"],
            &["CollectMode", "s", "inactive-or-failed"],
        ];
        let number = properties.len().to_string();
        let call = [["--user", "--quiet", "call"].as_slice(), &manager].concat();
        let unit = ["StartTransientUnit", "ssa(sv)a(sa(sv))", &name, "fail", &number];
        self.ask("busctl", &[&call, unit.as_slice(), &properties.concat(), &["0"]].concat())?;
        // systemd only queues the job: wait until it has been done.
        let started = Instant::now();
        while !own_group()?.ends_with(&name) {
            if started.elapsed() > DEADLINE {
                return Err(io::Error::other(format!("{name} was not started within {DEADLINE:?}")));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Runs `program` and returns what it prints.
    fn ask(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        let told = |what: &str| io::Error::other(format!("{program}: {what}"));
        let mut child = Command::new(program)
            .args(arguments)
            // It may name a bus without systemd.
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env("XDG_RUNTIME_DIR", &self.runtime_directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| told(&error.to_string()))?;
        // Its answers fit into a pipe, so it can end before they are read.
        if !has_ended(Pid::from_child(&child), DEADLINE) {
            child.kill()?;
            child.wait()?;
            return Err(told(&format!("it did not answer within {DEADLINE:?}")));
        }
        let status = child.wait()?;
        let answer = child.stdout.take().map(written).unwrap_or_default();
        let error = child.stderr.take().map(written).unwrap_or_default();
        if status.success() { Ok(answer) } else { Err(told(error.lines().last().unwrap_or("it failed"))) }
    }
}

/// Whether the process has only one id, so that it is not in a nested pid namespace. (Comparing namespaces is not possible: the kernel
/// hides them if the other process has capabilities.)
fn has_one_id(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.is_some_and(|ids| ids.split_whitespace().count() == 1)
}

/// What an ended process has written to a pipe. Does not wait for the end of the stream: a descendant may still hold the pipe open.
fn written(mut pipe: impl Read + AsFd) -> String {
    let mut text = Vec::new();
    if ioctl_fionbio(&pipe, true).is_ok() {
        // It fails where a read would block. What was read before stays in `text`.
        let _ = pipe.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn has_ended(process: Pid, deadline: Duration) -> bool {
    let Ok(descriptor) = pidfd_open(process, PidfdFlags::empty()) else { return true };
    let limit = Timespec { tv_sec: deadline.as_secs() as i64, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&limit)), Ok(1))
}
