//! The protocol's own conformance suite: against the daemon, which has one tool, and through the daemon's HTTP against a server that has
//! all that the suite asks for.

#[allow(deprecated, reason = "the legacy era has what is deprecated since")]
mod fixture;
mod loopback;
mod proxy;
mod suite;

use crate::support::daemon::Daemon;
use crate::support::own_network::is_own;
use crate::support::{launcher, until};
use suite::Known;

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What the suite asks of a server that has more than a tool that runs programs.
const NOT_OF_THIS_SERVER: &Known = &[
    (
        "its tools that no program can stand in for",
        &[
            "http-custom-header-server-validation",
            "json-schema-2020-12",
            "tools-call-audio",
            "tools-call-embedded-resource",
            "tools-call-mixed-content",
        ],
    ),
    (
        "a program's output comes as JSON, with its exit code",
        &["tasks-request-headers:tasks-headers-tolerate-mcp-method-on-tools-call"],
    ),
    (
        "the list of its tools changes with the interpreter, not when a tool is called",
        &["server-stateless:sep-2575-server-sends-tools-list-changed-on-subscription"],
    ),
    (
        "there are no prompts",
        &[
            "caching:sep-2549-prompts-list-caching-hints",
            "completion-complete",
            "prompts-get-embedded-resource",
            "prompts-get-simple",
            "prompts-get-with-args",
            "prompts-get-with-image",
            "prompts-list",
        ],
    ),
    (
        "resources are files of programs, which nobody can change",
        &[
            "resources-read-binary",
            "resources-read-text",
            "resources-subscribe",
            "resources-templates-read",
            "resources-unsubscribe",
        ],
    ),
    (
        "nothing is asked of a client, in the middle of a call or in place of its answer",
        &[
            "elicitation-sep1034-defaults",
            "elicitation-sep1330-enums",
            "input-required-result-basic-elicitation",
            "input-required-result-basic-list-roots",
            "input-required-result-basic-sampling",
            "input-required-result-capability-check",
            "input-required-result-ignore-extra-params",
            "input-required-result-missing-input-response",
            "input-required-result-multi-round",
            "input-required-result-multiple-input-requests",
            "input-required-result-non-tool-request",
            "input-required-result-request-state",
            "input-required-result-result-type",
            "input-required-result-tampered-state",
            "server-stateless:sep-2575-missing-capability-http-400",
            "server-stateless:sep-2575-server-rejects-undeclared-capability",
            "tasks-mrtr-composition",
            "tasks-mrtr-input",
            "tools-call-elicitation",
            "tools-call-sampling",
        ],
    ),
    ("nothing is logged to a client", &["logging-set-level", "tools-call-with-logging"]),
    (
        "no call has to be a task, and a program that fails is no failed task",
        &[
            "tasks-lifecycle:sep-2663-tasks-get-status-failed",
            "tasks-lifecycle:sep-2663-tool-error-uses-completed-status",
            "tasks-required-task-error",
        ],
    ),
    (
        "HTTP has no sessions, which are optional in the legacy era",
        &[
            "server-sse-multiple-streams:server-sse-multiple-streams-session",
            "server-sse-polling:server-sse-polling-session",
        ],
    ),
];

/// What no server could satisfy through the fault of the suite or of rmcp: nothing.
const NOT_OF_ANY_SERVER: &Known = &[];

fn expect_of_the_daemon<Test>(test: Test, revision: &str) {
    // Where daemons have networks of their own, whoever calls them there has to be in the same one. What comes over the network is there
    // before.
    if launcher::are_alone() && (suite::installed().is_none() || !is_own(test)) {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let arguments = ["--task-after", "1", "--http", "127.0.0.1:0", "--http-token-file", file.path().to_str().unwrap()];
    let daemon = Daemon::start_with(&[], &arguments);
    // The first program waits for Python, and its file is what resources are listed and read for.
    daemon.connect().call("open('file.txt', 'w').write('42')");
    let mut address = None;
    until("it says where it listens", || {
        address = daemon.stderr().lines().find_map(|line| line.split_once("address=")?.1.trim().parse().ok());
        address.is_some()
    });
    let proxy = proxy::start(address.unwrap(), TOKEN);
    suite::expect(revision, &proxy.url(), NOT_OF_THIS_SERVER);
}

#[test]
fn the_daemon_conforms_in_the_legacy_era() {
    expect_of_the_daemon(the_daemon_conforms_in_the_legacy_era, LEGACY);
}

#[test]
fn the_daemon_conforms_in_the_modern_era() {
    expect_of_the_daemon(the_daemon_conforms_in_the_modern_era, MODERN);
}

#[test]
fn a_server_with_everything_conforms_in_the_legacy_era() {
    suite::expect(LEGACY, &fixture::start().url(), NOT_OF_ANY_SERVER);
}

#[test]
fn a_server_with_everything_conforms_in_the_modern_era() {
    suite::expect(MODERN, &fixture::start().url(), NOT_OF_ANY_SERVER);
}
