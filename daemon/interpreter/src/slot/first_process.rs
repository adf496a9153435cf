//! A slot's first process: builds its world, puts the job into it, starts Python as process 2 and waits for its end.
//!
//! It is process 1 of the slot's pid namespace: when it ends, the kernel kills everything that is left in the slot. It keeps
//! its capabilities in the slot's own namespaces, which also keeps programs, who have none, from tracing it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, WaitOptions, wait};

use crate::channel::{Exit, Failure, SlotMessage, receive, send};
use crate::job::Job;
use crate::python::Launch;
use crate::sandbox::{self, Policy, step};

/// Never returns: the slot ends with it.
pub fn run(policy: &Policy, launch: &Launch, descriptors: &[OwnedFd; 3], wait_for_go: OwnedFd) -> ! {
    let [interpreter, stdout, stderr] = descriptors;
    let kept = [interpreter.as_fd(), stdout.as_fd(), stderr.as_fd(), wait_for_go.as_fd()];
    let alone = step("close descriptors", || sandbox::keep_only(&kept));
    let ended = alone.map_err(|error| Some(error.into())).and_then(|()| {
        sandbox::reset_signals();
        await_go(wait_for_go)?;
        prepare(policy, interpreter).map_err(Some)?;
        let (job, files) = await_job(interpreter)?;
        execute(policy, launch, job, files, descriptors).map_err(Some)
    });
    let message = match ended {
        Ok(exit) => Some(SlotMessage::Exited(exit)),
        Err(Some(failure)) => Some(SlotMessage::Failed(failure)),
        // The interpreter or the spawner is gone, and nobody is there to be told.
        Err(None) => None,
    };
    if let Some(message) = message {
        let _ = send(interpreter, &message, &[]);
    }
    std::process::exit(0)
}

/// Waits until the parent has mapped the user; without that nothing here may be done.
fn await_go(pipe: OwnedFd) -> Result<(), Option<Failure>> {
    let mut byte = [0];
    match rustix::io::read(pipe, &mut byte) {
        Ok(1) => Ok(()),
        _ => Err(None),
    }
}

fn prepare(policy: &Policy, interpreter: &OwnedFd) -> Result<(), Failure> {
    sandbox::build(policy)?;
    step("open the workspace", || {
        let workspace = rustix::fs::openat(CWD, "/workspace", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        send(interpreter, &SlotMessage::Ready, &[workspace.as_fd()])
    })?;
    Ok(())
}

fn await_job(interpreter: &OwnedFd) -> Result<(Job, Vec<OwnedFd>), Option<Failure>> {
    let Ok(Some(((), mut descriptors))) = receive::<()>(interpreter) else { return Err(None) };
    if descriptors.is_empty() {
        return Err(None);
    }
    let job = Job::read(descriptors.remove(0)).map_err(|_| None)?;
    Ok((job, descriptors))
}

fn execute(
    policy: &Policy,
    launch: &Launch,
    job: Job,
    files: Vec<OwnedFd>,
    [interpreter, stdout, stderr]: &[OwnedFd; 3],
) -> Result<Exit, Failure> {
    for (path, file) in job.files.iter().zip(files) {
        write_into_workspace(path, |place| io::copy(&mut File::from(file), &mut File::create(place)?).map(drop))?;
    }
    write_into_workspace(Path::new(&job.script), |place| fs::write(place, &job.source_code))?;

    let named = |error: &dyn std::fmt::Display| Failure::Python {
        python: launch.executable.display().to_string(),
        reason: error.to_string(),
    };
    let output = |descriptor: &OwnedFd| descriptor.try_clone().map(Stdio::from).map_err(|error| named(&error));
    let mut command = Command::new(&launch.executable);
    command.arg(&job.script).current_dir("/workspace").env_clear().envs(&launch.environment).envs(&job.env);
    command.stdin(Stdio::null()).stdout(output(stdout)?).stderr(output(stderr)?);
    crate::sandbox::confine(&mut command, policy.clone(), {
        let interpreter = interpreter.try_clone().map_err(|error| named(&error))?;
        move |failure| {
            let _ = send(&interpreter, &SlotMessage::Failed(failure.into()), &[]);
        }
    });
    let child = command.spawn().map_err(|error| named(&error))?;
    let python = Pid::from_child(&child);
    // Every orphan in the slot becomes this process's child: all are reaped, one is waited for.
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == python => {
                return Ok(match status.terminating_signal() {
                    Some(signal) => Exit::Signal(signal),
                    None => Exit::Code(status.exit_status().unwrap_or(1)),
                });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(named(&error)),
        }
    }
}

fn write_into_workspace(path: &Path, write: impl FnOnce(&PathBuf) -> io::Result<()>) -> Result<(), Failure> {
    let place = Path::new("/workspace").join(path);
    let parent = place.parent().map_or(Ok(()), fs::create_dir_all);
    parent
        .and_then(|()| write(&place))
        .map_err(|error| Failure::Workspace { path: place.display().to_string(), reason: error.to_string() })
}
