//! Bytes pass the shim unchanged, in both directions, whoever is slow.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::Stdio,
    thread,
};

use crate::support::{Home, Running, accept, noise, read_slowly, within};
use rustix::fs::OFlags;

const LARGE: usize = 20 * 1024 * 1024;

#[test]
fn passes_bytes_both_ways_unchanged() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let mut daemon = accept(&listener);
    let (mut input, mut output) = (shim.0.stdin.take().unwrap(), shim.0.stdout.take().unwrap());

    // A frame goes on once its end is there.
    let sent: Vec<u8> = (0..=255).chain(*b"\n").collect();
    for _ in 0..3 {
        input.write_all(&sent).unwrap();
        let mut arrived = [0; 257];
        daemon.read_exact(&mut arrived).unwrap();
        assert_eq!(arrived[..], sent);

        daemon.write_all(&sent).unwrap();
        let arrived = within("the answer", move || {
            let mut arrived = [0; 257];
            output.read_exact(&mut arrived).map(|()| (arrived, output)).unwrap()
        });
        output = arrived.1;
        assert_eq!(arrived.0[..], sent);
    }
}

#[test]
fn passes_twenty_mebibytes_each_way_at_once_to_slow_readers() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let daemon = accept(&listener);
    let (mut input, output) = (shim.0.stdin.take().unwrap(), shim.0.stdout.take().unwrap());
    let (requests, answers) = (noise(LARGE, 1), noise(LARGE, 2));

    let sending = requests.clone();
    let client_writes = thread::spawn(move || input.write_all(&sending).unwrap());
    let (sending, mut writer) = (answers.clone(), daemon.try_clone().unwrap());
    let daemon_writes = thread::spawn(move || writer.write_all(&sending).unwrap());
    let daemon_reads = thread::spawn(move || {
        let arrived = read_slowly(&daemon).unwrap();
        // Only now, so that the client's half-close is seen to leave the way back open.
        daemon_writes.join().unwrap();
        daemon.shutdown(Shutdown::Both).unwrap();
        arrived
    });
    let client_reads = thread::spawn(move || read_slowly(output).unwrap());

    assert_eq!(shim.ended().code(), Some(0));
    client_writes.join().unwrap();
    // The last frame has no end; the shim gives it one.
    let ended = [requests, b"\n".to_vec()].concat();
    assert!(daemon_reads.join().unwrap() == ended, "requests differ");
    assert!(client_reads.join().unwrap() == answers, "answers differ");
}

#[test]
fn reads_no_further_while_the_daemon_does_not_read() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let mut daemon = accept(&listener);
    let mut input = shim.0.stdin.take().unwrap();
    let flags = rustix::fs::fcntl_getfl(&input).unwrap();
    rustix::fs::fcntl_setfl(&input, flags | OFlags::NONBLOCK).unwrap();

    // Filled until the shim takes no more: its state, asleep in poll, is the event to wait for.
    let mut taken = 0;
    let piece = [b'x'; 4096];
    crate::support::until("back-pressure", || match input.write(&piece) {
        Ok(count) => {
            taken += count;
            assert!(taken < 2 * 1024 * 1024, "the shim buffers without a bound");
            false
        }
        Err(_) => is_asleep(shim.0.id()) && input.write(&piece).map(|count| taken += count).is_err(),
    });

    drop(input);
    let mut arrived = Vec::new();
    daemon.read_to_end(&mut arrived).unwrap();
    assert_eq!(arrived.len(), taken + 1, "and the end of the last line");
    drop(daemon);
    assert_eq!(shim.ended_promptly(), Some(0));
}

#[test]
fn stays_asleep_while_the_client_has_hung_up_behind_a_full_buffer() {
    let home = Home::new();
    let listener = home.listen();
    let mut shim = Running::start(&mut home.shim());
    let mut daemon = accept(&listener);
    let mut input = shim.0.stdin.take().unwrap();
    let flags = rustix::fs::fcntl_getfl(&input).unwrap();
    rustix::fs::fcntl_setfl(&input, flags | OFlags::NONBLOCK).unwrap();
    let mut taken = 0;
    crate::support::until("a full pipe", || match input.write(&[b'x'; 4096]) {
        Ok(count) => {
            taken += count;
            false
        }
        Err(_) => is_asleep(shim.0.id()),
    });
    drop(input);
    // That nothing happens has no event to wait for, so a while is looked at.
    let before = switches(shim.0.id());
    thread::sleep(std::time::Duration::from_millis(200));
    let after = switches(shim.0.id());
    assert!(after - before < 50, "the shim ran {} times with nothing to do", after - before);
    let mut arrived = Vec::new();
    daemon.read_to_end(&mut arrived).unwrap();
    assert!(arrived.len() >= taken);
}

#[test]
fn restores_the_flags_of_a_pipe_that_it_shares() {
    let home = Home::new();
    let listener = home.listen();
    let (client, theirs) = UnixStream::pair().unwrap();
    // One socket for both, as some clients do it; our copy of its open file shows what the shim leaves behind.
    let mut command = home.shim();
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap())));
    command.stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap())));
    let mut shim = Running::start(&mut command);
    drop(command);
    let mut daemon = accept(&listener);
    daemon.write_all(b"x\n").unwrap();
    (&client).read_exact(&mut [0; 2]).unwrap();
    let flags = || rustix::fs::fcntl_getfl(&theirs).unwrap();
    assert!(flags().contains(OFlags::NONBLOCK));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(daemon.read(&mut [0]).unwrap(), 0);
    drop(daemon);
    assert_eq!(shim.ended_promptly(), Some(0));
    assert!(!flags().contains(OFlags::NONBLOCK));
}

fn is_asleep(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('S')
}

/// How much the process has run: context switches, and ten for each tick of processor time.
fn switches(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let count = |name: &str| -> u64 {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:") + 10 * ticks
}
