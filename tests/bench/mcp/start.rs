//! How soon a client that launches the shim has its first answer, where the daemon runs already.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::client::{self, Client};
use super::daemon::Daemon;
use crate::report::{Report, at_most};
use crate::rounds::{Rounds, interleave};
use crate::user::as_user;

/// The least that a process can do.
const LEAST: &str = "/bin/true";

pub fn measure(daemon: &Daemon, rounds: Rounds, report: &mut Report) -> Result<()> {
    let [times, baseline] = as_user(|| {
        let initialize = client::initialize();
        let mut shim = || {
            let mut command = daemon.shim();
            let started = Instant::now();
            let mut client = Client::start(&mut command)?;
            let answer = client.exchange(&initialize)?;
            let elapsed = started.elapsed();
            ensure!(answer.starts_with(b"{"), "{:?}", String::from_utf8_lossy(answer));
            Ok(elapsed)
        };
        let mut least = || {
            let mut command = Command::new(LEAST);
            command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
            let started = Instant::now();
            let status = command.spawn()?.wait()?;
            let elapsed = started.elapsed();
            ensure!(status.success(), "{LEAST} ended with {status}");
            Ok(elapsed)
        };
        interleave(rounds, [&mut shim, &mut least])
    })?;
    report.ratio("start_ratio", 0.50, &times, &baseline, at_most(4.0, 2.5));
    Ok(())
}
