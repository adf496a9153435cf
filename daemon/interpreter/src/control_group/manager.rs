//! The user's systemd, as far as control groups are concerned: which units it has given away, and a scope for this process.
//!
//! It is asked by systemd's own programs, which are there wherever it is: a client for D-Bus would be larger than all of this.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, getpid, getuid, pidfd_open};

use super::place::{Hierarchy, own_group};

/// Longest wait for an answer, and for the scope.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks whether this process is in its scope.
const PAUSE: Duration = Duration::from_millis(2);

pub struct Manager {
    /// The group that it divides, as /proc names it.
    group: PathBuf,
    runtime_directory: OsString,
}

impl Manager {
    /// None where there is none, and where processes have other ids for it than here: it would move another one.
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

    /// Whether it is in charge of `group`.
    pub fn has(&self, group: &Path) -> bool {
        group.starts_with(&self.group)
    }

    /// The unit of this manager's that `group` is the group of.
    pub fn unit<'a>(&self, group: &'a Path) -> Option<&'a str> {
        let name = group.strip_prefix(&self.group).ok()?.file_name()?.to_str()?;
        (name.ends_with(".service") || name.ends_with(".scope")).then_some(name)
    }

    pub fn delegates(&self, unit: &str) -> bool {
        self.property(unit, "Delegate").is_ok_and(|value| value == "yes")
    }

    /// Whether `unit` was made to run this process, and not one that has started it.
    pub fn is_for_this(&self, unit: &str) -> bool {
        let this = getpid().as_raw_nonzero().to_string();
        self.property(unit, "MainPID").is_ok_and(|value| value == this)
    }

    fn property(&self, unit: &str, name: &str) -> io::Result<String> {
        let name = format!("--property={name}");
        Ok(self.ask("systemctl", &["--user", "show", "--value", &name, "--", unit])?.trim().to_owned())
    }

    /// Has this process moved to a scope of its own, which ends with its last process.
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
        // The answer is only that it will be done.
        let started = Instant::now();
        while !own_group()?.ends_with(&name) {
            if started.elapsed() > DEADLINE {
                return Err(io::Error::other(format!("{name} was not started within {DEADLINE:?}")));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// What `program` prints.
    fn ask(&self, program: &str, arguments: &[&str]) -> io::Result<String> {
        let told = |what: &str| io::Error::other(format!("{program}: {what}"));
        let mut child = Command::new(program)
            .args(arguments)
            // A client may have set it to a bus without systemd.
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env("XDG_RUNTIME_DIR", &self.runtime_directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| told(&error.to_string()))?;
        // What these answers are fits into a pipe.
        let ended = has_ended(Pid::from_child(&child), DEADLINE);
        if !ended {
            let _ = child.kill();
        }
        let status = child.wait()?;
        let (mut answer, mut error) = (String::new(), String::new());
        let _ = child.stdout.take().map(|mut stdout| stdout.read_to_string(&mut answer));
        let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut error));
        match (ended, status.success()) {
            (true, true) => Ok(answer),
            (true, false) => Err(told(error.lines().last().unwrap_or("it failed"))),
            (false, _) => Err(told(&format!("no answer within {DEADLINE:?}"))),
        }
    }
}

/// Whether it has no other id than the one it has here: it is not in a pid namespace below. (Its namespace itself is not told of a
/// manager that has capabilities.)
fn has_one_id(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.is_some_and(|ids| ids.split_whitespace().count() == 1)
}

fn has_ended(process: Pid, deadline: Duration) -> bool {
    let Ok(descriptor) = pidfd_open(process, PidfdFlags::empty()) else { return true };
    let limit = Timespec { tv_sec: deadline.as_secs() as i64, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&limit)), Ok(1))
}
