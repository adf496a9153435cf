//! What the daemon and a shim take while nothing is asked of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::client::{self, Client};
use super::daemon::Daemon;
use crate::processes::memory_kb;
use crate::report::{Report, at_most};
use crate::user::as_user;

const CLIENTS: u32 = 100;
const REST: Duration = Duration::from_secs(2);
const PING: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";

/// To be called first: what the daemon has once held it does not give back to the system.
pub fn measure_daemon(daemon: &Daemon, report: &mut Report) -> Result<()> {
    let resident = || memory_kb(daemon.id(), &["Rss:"]);
    let idle = resident()?;
    // The first brings the pages of code that all of them share.
    let first = as_user(|| connect(daemon))?;
    let with_one = resident()?;
    let clients = as_user(|| (0..CLIENTS).map(|_| connect(daemon)).collect::<Result<Vec<_>>>())?;
    let busy = resident()?;
    drop((first, clients));
    let of_each = (busy as f64 - with_one as f64) / f64::from(CLIENTS);
    let figures = json!({ "idle_kb": idle, "with_one_kb": with_one, "with_clients_kb": busy, "clients": CLIENTS });
    let detail = "before its first client".to_owned();
    report.add("daemon_idle_rss_kb", Some(idle as f64), at_most(10_000.0, 10_000.0), detail, figures.clone());
    let detail = format!("{CLIENTS} idle clients beside one, {with_one} to {busy} kB");
    report.add("daemon_rss_per_client_kb", Some(of_each), at_most(50.0, 50.0), detail, figures);
    Ok(())
}

/// `client` is that of a shim, the only one. It rests when nothing has happened for a while.
pub fn measure_shim(client: &Client, report: &mut Report) -> Result<()> {
    thread::sleep(REST);
    let size = memory_kb(client.id(), &["Pss:"])?;
    let resident = memory_kb(client.id(), &["Rss:"])?;
    let (detail, figures) = (format!("{resident} kB resident"), json!({ "pss_kb": size, "rss_kb": resident }));
    report.tell("shim_pss_kb", Some(size as f64), detail, figures);
    Ok(())
}

/// A client as a shim would bring it, initialized. What it sent last has been answered, so nothing is on its way.
fn connect(daemon: &Daemon) -> Result<UnixStream> {
    let stream = daemon.connect()?;
    let mut lines = BufReader::new(&stream).lines();
    for message in [&client::initialize()[..], &[client::INITIALIZED, PING].concat()] {
        (&stream).write_all(message)?;
        let answer = lines.next().transpose()?.unwrap_or_default();
        ensure!(answer.contains("\"result\""), "the daemon answered {answer:?}");
    }
    drop(lines);
    Ok(stream)
}
