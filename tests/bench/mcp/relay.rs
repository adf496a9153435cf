//! What it costs that the shim looks at the frames that pass: the same call through it and through a plain relay of bytes.

use std::path::Path;

use anyhow::Result;

use super::BENCH;
use super::client::Client;
use super::daemon::{Daemon, command};
use crate::report::{Report, at_most};
use crate::rounds::{Rounds, interleave_turns};
use crate::user::as_user;

/// In a row, as in `calls`.
const TURN: usize = 50;

pub fn measure(ours: &mut Client, daemon: &Daemon, program: &Path, rounds: Rounds, report: &mut Report) -> Result<()> {
    let [shim, plain] = as_user(|| {
        let (bench, home) = (program.with_file_name(BENCH), program.with_file_name("plain-relay"));
        let mut plain = Client::connect(command(&bench, &home).arg("--plain-relay").arg(daemon.socket()))?;
        plain.call()?;
        interleave_turns(rounds, TURN, [&mut || ours.call(), &mut || plain.call()])
    })?;
    report.ratio("shim_peek_ratio", 0.50, &shim, &plain, at_most(1.15, 1.1));
    Ok(())
}
