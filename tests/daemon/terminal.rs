//! What people see in a real terminal, tmux: colours, redrawing, output as it comes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::daemon::{Daemon, Home};
use crate::support::fake_interpreter::FakeInterpreter;
use crate::support::{launcher, passed_over, until};

/// A terminal of its own, in which one command runs; none where there is no tmux.
struct Terminal<'a> {
    home: &'a Home,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    fn open(home: &'a Home, command: &str) -> Option<Self> {
        let there = Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_ok();
        if !there {
            passed_over("there is no tmux");
            return None;
        }
        // The server of one that was just closed may still be going.
        let number = fs::read_dir(home.path()).unwrap().count();
        let terminal = Self { home, socket: home.path().join(format!("tmux-{number}")) };
        // It stays until it has been read, also where the command is interrupted.
        let command = format!("trap : INT; {command}; echo \"code $?\"; exec sleep 300");
        let size = ["new-session", "-d", "-x", "120", "-y", "40"];
        let started = terminal.tmux().args(size).arg(command).status().unwrap();
        assert!(started.success());
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut tmux = self.home.command();
        let environment: Vec<_> =
            tmux.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
        tmux = Command::new("tmux");
        tmux.env_clear()
            .envs(environment)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh");
        tmux.args(["-f", "/dev/null", "-S"]).arg(&self.socket);
        tmux
    }

    /// What is on the screen, with its colours.
    fn screen(&self) -> String {
        let shown = self.tmux().args(["capture-pane", "-p", "-e"]).output().unwrap();
        String::from_utf8(shown.stdout).unwrap()
    }

    fn shows(&self, text: &str) {
        let mut last = String::new();
        let mut seen = || {
            last = self.screen();
            last.contains(text)
        };
        until(text, &mut seen);
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the terminal shows:\n{}", self.screen());
        }
        let _ = self.tmux().arg("kill-server").status();
    }
}

#[test]
fn findings_have_colours_unless_nobody_wants_them() {
    let home = Home::new();
    let Some(terminal) = Terminal::open(&home, &format!("{} doctor", launcher::daemon())) else { return };
    terminal.shows("code 0");
    assert!(terminal.screen().contains("\u{1b}[32mok"), "{}", terminal.screen());
    drop(terminal);
    let Some(terminal) = Terminal::open(&home, &format!("NO_COLOR=1 {} doctor", launcher::daemon())) else { return };
    terminal.shows("code 0");
    assert!(
        terminal.screen().contains("ok     sandbox") && !terminal.screen().contains('\u{1b}'),
        "{}",
        terminal.screen()
    );
}

#[test]
fn the_status_is_drawn_anew_in_its_place() {
    let daemon = Daemon::start(&FakeInterpreter::start());
    let Some(terminal) = Terminal::open(daemon.home(), &format!("{} status --watch", launcher::daemon())) else {
        return;
    };
    terminal.shows("0 have ended");
    daemon.connect().call("1");
    terminal.shows("1 have ended");
    assert_eq!(terminal.screen().matches("have ended").count(), 1, "{}", terminal.screen());
}

#[test]
fn a_program_s_output_is_there_before_its_end() {
    let home = Home::new();
    let program =
        "import os, time; print('first', flush=True)\nwhile not os.path.exists('/tmp/never'): time.sleep(0.01)";
    let Some(terminal) = Terminal::open(&home, &format!("{} exec \"{program}\"", launcher::daemon())) else { return };
    terminal.shows("first");
    assert!(!terminal.screen().contains("code"), "{}", terminal.screen());
    // Ctrl-C ends the program, and the terminal is as before.
    terminal.tmux().args(["send-keys", "C-c"]).status().unwrap();
    terminal.shows("code 130");
}
