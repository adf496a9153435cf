//! What belongs to a call beside the request: its trace, and who gets the output while the program runs.

use hyper::header::{HeaderMap, HeaderValue};
use python_interpreter::wire::Event;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The longest value of either header, in bytes.
const MAX_HEADER_BYTES: usize = 512;

/// The client's W3C trace context.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    pub parent: Option<String>,
    pub state: Option<String>,
}

#[derive(Debug, Default)]
pub struct CallContext {
    /// The execution's id in this daemon's log.
    pub execution_id: Option<String>,
    /// The client's name among those of all daemons.
    pub client: Option<String>,
    /// Whether the modules that the program imports count for the preload.
    pub learns: bool,
    pub trace: Trace,
    /// Cancelled when the daemon stops and waits for the program no longer.
    pub stopping: CancellationToken,
    /// Gets the last line of output.
    pub last_line: Option<watch::Sender<String>>,
    /// Gets all of the output.
    pub live: Option<mpsc::Sender<Event>>,
}

impl CallContext {
    /// Whether somebody reads the output while the program runs.
    pub fn wants_events(&self) -> bool {
        self.last_line.is_some() || self.live.is_some()
    }
}

impl Trace {
    /// Ignores a parent that does not have the form of a traceparent: `version-trace-parent-flags` in hexadecimal digits.
    pub fn new(parent: Option<&str>, state: Option<&str>) -> Self {
        let parent = parent.filter(|parent| is_trace_parent(parent)).map(str::to_owned);
        let is_header =
            |text: &&str| text.len() <= MAX_HEADER_BYTES && text.bytes().all(|byte| (32..127).contains(&byte));
        let state = state.filter(is_header).filter(|_| parent.is_some()).map(str::to_owned);
        Self { parent, state }
    }

    /// The id of the trace, for the log.
    pub fn id(&self) -> Option<&str> {
        self.parent.as_deref()?.split('-').nth(1)
    }

    pub fn continue_in(&self, headers: &mut HeaderMap) {
        for (name, value) in [("traceparent", &self.parent), ("tracestate", &self.state)] {
            // `new` has only taken valid header values.
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

fn is_trace_parent(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [2, 32, 16, 2] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_parent_is_passed_on() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::new(Some(parent), Some("vendor=1"));
        assert_eq!((trace.id(), trace.state.as_deref()), (Some("0af7651916cd43dd8448eb211c80319c"), Some("vendor=1")));
        for wrong in ["", "00-1-2-3", "x\r\ny", &parent.replace('f', "g")] {
            assert!(Trace::new(Some(wrong), Some("vendor=1")).state.is_none(), "{wrong}");
        }
        assert!(Trace::new(Some(parent), Some("a\r\nb")).state.is_none());
    }
}
