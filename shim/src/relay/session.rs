//! The client's unanswered requests and its handshake, noted while frames pass. The next daemon needs them to go on.

use std::{collections::VecDeque, mem};

use super::direction::Frame;
use crate::frame::{Id, Scanner, quoted};

/// The most unanswered requests that are remembered: more than relay, socket and daemon can hold together.
const MAX_UNANSWERED: usize = 16 * 1024;
const INITIALIZE: &str = "initialize";
const INITIALIZED: &str = "notifications/initialized";
const CANCELLED: &str = "notifications/cancelled";
/// Sent because the next daemon's lists may differ. Clients of the newer era ask again by themselves.
const LISTS_CHANGED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";

#[derive(Default)]
pub(super) struct Session {
    unanswered: VecDeque<Id>,
    /// Cancelled while the daemon accepted nothing more. It does not know, so its answers are dropped here.
    untold_cancellations: Vec<Id>,
    /// The legacy era's handshake, as the client sent it.
    initialize: Option<(Id, Vec<u8>)>,
    initialized: Option<Vec<u8>>,
    /// Whether the client has the answer to the handshake.
    is_open: bool,
    /// The id of a handshake that was repeated for a new daemon. The client must not get its second answer.
    repeated: Option<Id>,
}

impl Session {
    /// The client has sent a frame. `daemon_listens` is false for a daemon that accepts nothing more.
    pub fn sent(&mut self, frame: &Scanner, form: &Frame<'_>, daemon_listens: bool) {
        let text = match form {
            Frame::Whole(text) => Some(*text),
            Frame::Long | Frame::Cut => None,
        };
        match frame.id() {
            Some(id) if frame.has_method() => {
                if self.unanswered.len() == MAX_UNANSWERED {
                    self.unanswered.pop_front();
                }
                self.unanswered.push_back(id.clone());
                if let (Some(INITIALIZE), Some(text)) = (frame.method(), text) {
                    self.initialize = Some((id.clone(), text.to_vec()));
                    (self.initialized, self.is_open) = (None, false);
                }
            }
            Some(_) => {}
            None if frame.method() == Some(INITIALIZED) => self.initialized = text.map(<[u8]>::to_vec),
            None if frame.method() == Some(CANCELLED) => {
                if let Some(id) = text.and_then(cancelled).filter(|id| self.forget(id))
                    && !daemon_listens
                {
                    self.untold_cancellations.push(id);
                }
            }
            None => {}
        }
    }

    /// The daemon has sent a frame. False if it is not for the client.
    pub fn received(&mut self, frame: &Scanner) -> bool {
        let Some(id) = frame.id().filter(|_| !frame.has_method()) else { return true };
        if self.repeated.as_ref() == Some(id) {
            self.repeated = None;
            return false;
        }
        if let Some(place) = self.untold_cancellations.iter().position(|cancelled| cancelled == id) {
            self.untold_cancellations.swap_remove(place);
            return false;
        }
        self.forget(id);
        self.is_open |= self.initialize.as_ref().is_some_and(|(own, _)| own == id);
        true
    }

    /// The daemon is gone. Returns the requests that it accepted and will never answer. `waiting` are the frames that it did not accept.
    pub fn lost<'a>(&mut self, waiting: impl Iterator<Item = &'a [u8]>) -> Vec<Id> {
        self.repeated = None;
        self.untold_cancellations.clear();
        let (mut lost, mut kept) = (mem::take(&mut self.unanswered), VecDeque::new());
        // An unanswered handshake is repeated with the next daemon.
        let handshake = self.initialize.iter().filter(|_| !self.is_open).map(|(id, _)| id.clone());
        for id in waiting.filter_map(|text| scanned(text).id().cloned()).chain(handshake) {
            // Of several requests with one id, the last ones wait.
            if let Some(place) = lost.iter().rposition(|known| *known == id) {
                kept.extend(lost.remove(place));
            }
        }
        self.unanswered = kept;
        lost.into()
    }

    /// Whether the daemon owes an answer. `waiting` are the frames that it did not accept.
    pub fn is_owed_an_answer<'a>(&self, waiting: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut owed: Vec<&Id> = self.unanswered.iter().collect();
        for frame in waiting.map(scanned) {
            if let Some(place) = owed.iter().rposition(|known| Some(*known) == frame.id()) {
                owed.remove(place);
            }
        }
        !owed.is_empty()
    }

    /// The frames that a new daemon gets first, and those that the client gets then. `is_waiting` says whether a frame was not sent yet.
    pub fn renewed(&mut self, is_waiting: impl Fn(&[u8]) -> bool) -> (Vec<u8>, &'static [u8]) {
        let Some((id, initialize)) = &self.initialize else { return (Vec::new(), b"") };
        // It waits if the client has just sent it, or if an earlier daemon ended without accepting it.
        let is_there = is_waiting(initialize);
        let mut frames = if is_there { Vec::new() } else { initialize.clone() };
        frames.extend(self.initialized.iter().filter(|text| !is_waiting(text)).flatten());
        if !self.is_open {
            return (frames, b"");
        }
        self.repeated = Some(id.clone());
        (frames, if is_there { b"" } else { LISTS_CHANGED })
    }

    /// Whether the client waits for an answer.
    pub fn is_waiting(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// No daemon can be reached. Returns the requests that will not be answered.
    pub fn given_up(&mut self) -> Vec<Id> {
        let given_up: Vec<Id> = mem::take(&mut self.unanswered).into();
        // A handshake that was answered with an error is not repeated.
        if !self.is_open && self.initialize.as_ref().is_some_and(|(id, _)| given_up.contains(id)) {
            (self.initialize, self.initialized) = (None, None);
        }
        given_up
    }

    /// Removes an unanswered request; whether it was one.
    fn forget(&mut self, id: &Id) -> bool {
        let place = self.unanswered.iter().position(|known| known == id);
        place.and_then(|place| self.unanswered.remove(place)).is_some()
    }
}

pub(super) fn scanned(text: &[u8]) -> Scanner {
    let mut scanner = Scanner::default();
    scanner.push(text);
    scanner
}

/// The error answer to a request, as a frame.
pub(super) fn error(id: &Id, message: &str) -> Vec<u8> {
    let (id, message) = (id.to_json(), quoted(message));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32603,\"message\":{message}}}}}\n").into_bytes()
}

/// `params.requestId` of a `notifications/cancelled`.
fn cancelled(text: &[u8]) -> Option<Id> {
    const KEY: &[u8] = b"\"requestId\"";
    let (mut place, mut depth) = (0, 0);
    while let Some(byte) = text.get(place) {
        match byte {
            b'"' if depth == 2 && text[place..].starts_with(KEY) => {
                let after = text[place + KEY.len()..].trim_ascii_start();
                if let Some(value) = after.strip_prefix(b":") {
                    // The scanner finds the end of the value.
                    return scanned(&[b"{\"id\":", value].concat()).id().cloned();
                }
                place += KEY.len();
            }
            b'"' => {
                // Skips the string.
                place += 1;
                while text.get(place).is_some_and(|byte| *byte != b'"') {
                    place += if text[place] == b'\\' { 2 } else { 1 };
                }
                place += 1;
            }
            b'{' | b'[' => (place, depth) = (place + 1, depth + 1),
            b'}' | b']' => (place, depth) = (place + 1, depth - 1),
            _ => place += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(session: &mut Session, text: &str) {
        session.sent(&scanned(text.as_bytes()), &Frame::Whole(text.as_bytes()), true);
    }

    fn received(session: &mut Session, text: &str) -> bool {
        session.received(&scanned(text.as_bytes()))
    }

    fn lost(session: &mut Session, waiting: &[&str]) -> Vec<String> {
        session.lost(waiting.iter().map(|text| text.as_bytes())).iter().map(Id::to_json).collect()
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
    fn an_id_that_is_written_in_another_way_is_the_same() {
        let mut session = Session::default();
        sent(&mut session, "{\"id\":\"a\\/1\",\"method\":\"ping\"}\n");
        sent(&mut session, "{\"id\":\"\\u00e9\",\"method\":\"ping\"}\n");
        assert!(received(&mut session, "{\"id\":\"a/1\",\"result\":{}}\n"));
        assert_eq!(lost(&mut session, &[]), ["\"é\""]);
    }

    #[test]
    fn a_request_whose_method_is_strange_is_still_a_request() {
        let mut session = Session::default();
        sent(&mut session, &format!("{{\"id\":1,\"method\":\"{}\"}}\n", "x".repeat(1000)));
        sent(&mut session, "{\"id\":2,\"method\":7}\n");
        sent(&mut session, "{\"id\":3,\"result\":{}}\n");
        assert_eq!(lost(&mut session, &[]), ["1", "2"]);
    }

    #[test]
    fn an_answer_that_a_daemon_gives_although_the_client_has_cancelled_is_dropped_once() {
        let mut session = Session::default();
        let call = "{\"id\":1,\"method\":\"tools/call\"}\n";
        let cancel = "{\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n";
        sent(&mut session, call);
        session.sent(&scanned(cancel.as_bytes()), &Frame::Whole(cancel.as_bytes()), false);
        assert!(!session.is_owed_an_answer([cancel.as_bytes()].into_iter()));
        sent(&mut session, call);
        assert!(!received(&mut session, "{\"id\":1,\"result\":{}}\n"), "it is the answer to the first");
        assert!(received(&mut session, "{\"id\":1,\"result\":{}}\n"));
    }

    #[test]
    fn of_two_requests_with_the_same_id_the_one_that_was_taken_is_lost() {
        let mut session = Session::default();
        let call = "{\"id\":1,\"method\":\"tools/call\"}\n";
        sent(&mut session, call);
        sent(&mut session, call);
        assert!(session.is_owed_an_answer([call.as_bytes()].into_iter()));
        assert_eq!(lost(&mut session, &[call]), ["1"]);
        assert!(received(&mut session, "{\"id\":1,\"result\":{}}\n"));
        assert!(!session.is_waiting());
    }

    #[test]
    fn a_handshake_that_was_refused_is_not_repeated() {
        let mut session = Session::default();
        sent(&mut session, "{\"id\":0,\"method\":\"initialize\"}\n");
        assert!(lost(&mut session, &[]).is_empty());
        assert_eq!(session.given_up().len(), 1);
        assert_eq!(session.renewed(|_| false), (Vec::new(), &b""[..]));
    }

    #[test]
    fn a_handshake_that_was_lost_half_way_is_made_whole_with_the_next_daemon() {
        let (hello, ready) = ("{\"id\":0,\"method\":\"initialize\"}\n", "{\"method\":\"notifications/initialized\"}\n");
        let mut session = Session::default();
        sent(&mut session, hello);
        sent(&mut session, ready);
        lost(&mut session, &[]);
        assert_eq!(session.renewed(|_| false).0, format!("{hello}{ready}").as_bytes());
    }

    #[test]
    fn what_waits_for_the_next_daemon_is_not_owed_by_this_one() {
        let mut session = Session::default();
        let (call, ping) = ("{\"id\":1,\"method\":\"tools/call\"}\n", "{\"id\":2,\"method\":\"ping\"}\n");
        sent(&mut session, call);
        sent(&mut session, ping);
        assert!(session.is_owed_an_answer([ping.as_bytes()].into_iter()));
        assert!(received(&mut session, "{\"id\":1,\"result\":{}}\n"));
        assert!(!session.is_owed_an_answer([ping.as_bytes()].into_iter()));
        assert!(session.is_owed_an_answer([].into_iter()));
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
        let id = |text: &str| cancelled(text.as_bytes()).map(|id| id.to_json());
        assert_eq!(id(r#"{"params":{"requestId":12,"reason":"x"}}"#).as_deref(), Some("12"));
        assert_eq!(id(r#"{"params":{"reason":"\"requestId\":5","requestId":"a"}}"#).as_deref(), Some("\"a\""));
        assert_eq!(id(r#"{"params":{"_meta":{"requestId":5},"x":"requestId","requestId":6}}"#).as_deref(), Some("6"));
        assert_eq!(id(r#"{"params":{"requestId":"a\"b"}}"#).as_deref(), Some(r#""a\"b""#));
        assert_eq!(id(r#"{"params":{}}"#), None);
    }

    #[test]
    fn an_error_is_json_whatever_is_said() {
        let text = error(&Id::String("a".to_owned()), "it said \"no\\\"\n");
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((value["id"].as_str(), value["error"]["message"].as_str()), (Some("a"), Some("it said \"no\\\"\n")));
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
