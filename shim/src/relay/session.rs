//! What a client still waits for, and what another daemon has to be told before it can go on for it: remembered while the frames pass.

use std::collections::VecDeque;

use super::direction::Frame;
use crate::frame::Scanner;

/// Requests that are remembered as unanswered: more than the relay, the socket and the daemon hold together, however short they are.
const MAX_UNANSWERED: usize = 16 * 1024;
const INITIALIZE: &str = "initialize";
const INITIALIZED: &str = "notifications/initialized";
const CANCELLED: &str = "notifications/cancelled";
/// After a change of the daemon its lists may be others. A client of the newer era asks again by itself.
const LISTS_CHANGED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";

/// Ids are JSON texts: `1` and `"1"` are two.
type Id = Vec<u8>;

#[derive(Default)]
pub(super) struct Session {
    unanswered: VecDeque<Id>,
    /// The handshake of the legacy era, as the client sent it.
    initialize: Option<(Id, Vec<u8>)>,
    initialized: Option<Vec<u8>>,
    /// Whether the client has had the handshake's answer.
    is_open: bool,
    /// The answer to a handshake that was repeated for a new daemon, which the client must not get twice.
    repeated: Option<Id>,
}

impl Session {
    /// A frame of the client is on its way to the daemon.
    pub fn sent(&mut self, frame: &Scanner, form: &Frame<'_>) {
        let text = match form {
            Frame::Whole(text) => Some(*text),
            Frame::Long | Frame::Cut => None,
        };
        match (frame.id(), frame.method()) {
            (Some(id), Some(method)) => {
                if self.unanswered.len() == MAX_UNANSWERED {
                    self.unanswered.pop_front();
                }
                self.unanswered.push_back(id.to_vec());
                if let (INITIALIZE, Some(text)) = (method, text) {
                    self.initialize = Some((id.to_vec(), text.to_vec()));
                    (self.initialized, self.is_open) = (None, false);
                }
            }
            (None, Some(INITIALIZED)) => self.initialized = text.map(<[u8]>::to_vec),
            // It gets no answer, or one that is on its way.
            (None, Some(CANCELLED)) => {
                if let Some(id) = text.and_then(cancelled) {
                    self.forget(id);
                }
            }
            _ => {}
        }
    }

    /// A frame of the daemon has come. False if it is not for the client.
    pub fn received(&mut self, frame: &Scanner) -> bool {
        let (Some(id), None) = (frame.id(), frame.method()) else { return true };
        if self.repeated.as_deref() == Some(id) {
            self.repeated = None;
            return false;
        }
        self.forget(id);
        self.is_open |= self.initialize.as_ref().is_some_and(|(own, _)| own == id);
        true
    }

    /// The daemon is gone: what the client waits for and will never get. `waiting` are frames that have not been sent yet.
    pub fn lost<'a>(&mut self, waiting: impl Iterator<Item = &'a [u8]>) -> Vec<Id> {
        self.repeated = None;
        let mut kept: Vec<Id> = waiting.filter_map(|text| Some(scanned(text).id()?.to_vec())).collect();
        // A handshake that was not answered is simply made with the next daemon.
        kept.extend(self.initialize.iter().filter(|_| !self.is_open).map(|(id, _)| id.clone()));
        let (kept, lost): (Vec<_>, _) = self.given_up().into_iter().partition(|id| kept.contains(id));
        self.unanswered = kept.into();
        lost
    }

    /// What a new daemon is told first, and then the client. `is_waiting` says whether a frame has not been sent yet.
    pub fn renewed(&mut self, is_waiting: impl Fn(&[u8]) -> bool) -> (Vec<u8>, &'static [u8]) {
        let Some((id, initialize)) = &self.initialize else { return (Vec::new(), b"") };
        // It is there already if the client has just sent it, or if a daemon before this one ended without taking it.
        let is_there = is_waiting(initialize);
        let mut frames = if is_there { Vec::new() } else { initialize.clone() };
        if !self.is_open {
            return (frames, b"");
        }
        self.repeated = Some(id.clone());
        frames.extend(self.initialized.iter().filter(|text| !is_waiting(text)).flatten());
        (frames, if is_there { b"" } else { LISTS_CHANGED })
    }

    /// Whether the client waits for something that another daemon could still do.
    pub fn is_waiting(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// There is no other daemon: what the client waits for in vain.
    pub fn given_up(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.unanswered).into()
    }

    fn forget(&mut self, id: &[u8]) {
        if let Some(place) = self.unanswered.iter().position(|known| known == id) {
            self.unanswered.remove(place);
        }
    }
}

pub(super) fn scanned(text: &[u8]) -> Scanner {
    let mut scanner = Scanner::default();
    scanner.push(text);
    scanner
}

/// A request's error, as a frame.
pub(super) fn error(id: &[u8], message: &str) -> Vec<u8> {
    let message: String = message.chars().filter(|character| !character.is_control()).collect();
    let message = message.replace('\\', "\\\\").replace('"', "\\\"");
    let rest = format!(",\"error\":{{\"code\":-32603,\"message\":\"{message}\"}}}}\n");
    [br#"{"jsonrpc":"2.0","id":"#, id, rest.as_bytes()].concat()
}

/// The id in a `notifications/cancelled`. In a text of the client's the quotes of the key would be escaped.
fn cancelled(text: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"requestId\"";
    let place = text.windows(KEY.len()).position(|window| window == KEY)?;
    let value = text[place + KEY.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let length = match value.strip_prefix(b"\"") {
        Some(rest) => 2 + rest.iter().position(|byte| *byte == b'"')?,
        None => value.iter().position(|byte| !matches!(byte, b'-' | b'0'..=b'9'))?,
    };
    Some(&value[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(session: &mut Session, text: &str) {
        session.sent(&scanned(text.as_bytes()), &Frame::Whole(text.as_bytes()));
    }

    fn received(session: &mut Session, text: &str) -> bool {
        session.received(&scanned(text.as_bytes()))
    }

    fn lost(session: &mut Session, waiting: &[&str]) -> Vec<String> {
        let lost = session.lost(waiting.iter().map(|text| text.as_bytes()));
        lost.into_iter().map(|id| String::from_utf8(id).unwrap()).collect()
    }

    #[test]
    fn what_is_neither_answered_nor_cancelled_is_lost() {
        let mut session = Session::default();
        for id in ["1", "\"1\"", "2", "3", "4"] {
            sent(&mut session, &format!("{{\"id\":{id},\"method\":\"tools/call\"}}\n"));
        }
        assert!(received(&mut session, "{\"id\":1,\"result\":{}}\n"));
        assert!(received(&mut session, "{\"method\":\"notifications/progress\"}\n"));
        sent(&mut session, "{\"method\":\"notifications/cancelled\",\"params\":{\"requestId\" : 2}}\n");
        assert_eq!(lost(&mut session, &["{\"id\":3,\"method\":\"ping\"}\n"]), ["\"1\"", "4"]);
        assert_eq!(lost(&mut session, &[]), ["3"]);
        assert!(lost(&mut session, &[]).is_empty());
    }

    #[test]
    fn a_handshake_is_repeated_and_its_second_answer_kept_back() {
        let (hello, ready) = ("{\"id\":0,\"method\":\"initialize\"}\n", "{\"method\":\"notifications/initialized\"}\n");
        let mut session = Session::default();
        assert_eq!(session.renewed(|_| false), (Vec::new(), &b""[..]));
        sent(&mut session, hello);
        assert!(lost(&mut session, &[]).is_empty(), "it is made with the next daemon");
        assert_eq!(session.renewed(|text| text == hello.as_bytes()), (Vec::new(), &b""[..]), "it waits to be sent");
        assert_eq!(session.renewed(|_| false), (hello.into(), &b""[..]));
        assert!(received(&mut session, "{\"id\":0,\"result\":{}}\n"));
        sent(&mut session, ready);
        lost(&mut session, &[]);
        assert_eq!(session.renewed(|_| false), (format!("{hello}{ready}").into(), LISTS_CHANGED));
        assert!(!received(&mut session, "{\"id\":0,\"result\":{}}\n"));
        assert!(received(&mut session, "{\"id\":0,\"result\":{}}\n"), "only once");
    }

    #[test]
    fn a_handshake_that_the_last_daemon_did_not_take_is_kept_back_as_well() {
        let hello = "{\"id\":0,\"method\":\"initialize\"}\n";
        let mut session = Session::default();
        sent(&mut session, hello);
        assert!(received(&mut session, "{\"id\":0,\"result\":{}}\n"));
        assert_eq!(session.renewed(|_| false).0, hello.as_bytes());
        lost(&mut session, &[hello]);
        assert_eq!(session.renewed(|text| text == hello.as_bytes()), (Vec::new(), &b""[..]), "it still waits");
        assert!(!received(&mut session, "{\"id\":0,\"result\":{}}\n"));
    }

    #[test]
    fn the_id_of_a_cancellation_is_found() {
        let id = |text: &str| cancelled(text.as_bytes()).map(|id| String::from_utf8(id.to_vec()).unwrap());
        assert_eq!(id(r#"{"params":{"requestId":12,"reason":"x"}}"#).as_deref(), Some("12"));
        assert_eq!(id(r#"{"params":{"reason":"\"requestId\":5","requestId":"a"}}"#).as_deref(), Some("\"a\""));
        assert_eq!(id(r#"{"params":{}}"#), None);
    }

    #[test]
    fn an_error_is_json_whatever_is_said() {
        let text = error(b"\"a\"", "it said \"no\\\"\n");
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((value["id"].as_str(), value["error"]["message"].as_str()), (Some("a"), Some("it said \"no\\\"")));
        assert_eq!(text.last(), Some(&b'\n'));
    }
}
