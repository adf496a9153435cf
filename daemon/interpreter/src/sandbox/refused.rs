//! A step of the sandbox that the kernel refused, with a remedy for the user.

use std::io;

use serde::{Deserialize, Serialize};

use crate::protocol::LANDLOCK_STEP;

#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[error("cannot isolate Python: to {step} failed: {reason}. {remedy}")]
pub struct StepError {
    /// As in "to {step} failed".
    pub step: String,
    /// The kernel's error.
    pub reason: String,
    /// Its errno.
    pub number: Option<i32>,
    /// What the user can do.
    pub remedy: String,
}

/// Runs one step, and names it in the error.
pub fn step<T>(name: &str, act: impl FnOnce() -> io::Result<T>) -> Result<T, StepError> {
    act().map_err(|error| refused(name, &error))
}

pub fn refused(step: &str, error: &io::Error) -> StepError {
    StepError {
        step: step.to_owned(),
        reason: error.to_string(),
        number: error.raw_os_error(),
        remedy: remedy(step, error),
    }
}

/// The remedy for a failed step, as far as the systems on which it fails are known.
fn remedy(step: &str, error: &io::Error) -> String {
    let namespaces = "Unprivileged user namespaces are needed";
    match (step, error.raw_os_error()) {
        ("create namespaces", Some(libc::ENOSPC | libc::EUSERS)) => {
            format!("{namespaces}: raise the limit with `sudo sysctl user.max_user_namespaces=15000`")
        }
        ("create namespaces", Some(libc::EPERM)) => format!(
            "{namespaces}: allow them with `sudo sysctl kernel.unprivileged_userns_clone=1` (Debian) or, in a container, a \
             seccomp profile that permits them"
        ),
        (LANDLOCK_STEP, _) => {
            "A kernel with Landlock is needed: Linux 5.13 or later with `landlock` in the `lsm=` list".to_owned()
        }
        (
            "map the user" | "become the unprivileged user" | "build the root" | "open the parts of the root",
            Some(libc::EPERM | libc::EACCES),
        ) => {
            let program = std::env::current_exe().unwrap_or_default();
            // The package's AppArmor profile does not cover this path.
            let added = if program.starts_with("/nix/store") {
                format!(" with {} added to its paths", program.display())
            } else {
                String::new()
            };
            format!(
                "{namespaces} that may mount: on Ubuntu 24.04 or later, install the profile packaging/apparmor/python-interpreter-mcpd{added} \
                 or run `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container, run it with /proc unmasked"
            )
        }
        _ => "It needs Linux 5.13 or later, with user namespaces, Landlock and seccomp".to_owned(),
    }
}
