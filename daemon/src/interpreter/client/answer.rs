//! The JSON of an answer.

use python_interpreter::wire::{ExecuteResponse, Outcome};

use crate::interpreter::failure::MAX_SHOWN_ANSWER_BYTES;

/// The largest answer that is taken.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// A larger answer is parsed off the event loop, so that other clients do not wait for it.
const LARGE_ANSWER_BYTES: usize = 256 * 1024;

/// What an interpreter answered.
pub struct Answer {
    pub response: ExecuteResponse,
    /// How the program ended, which only our own interpreter says.
    pub outcome: Option<Outcome>,
}

/// What is wrong with an answer, and its first bytes. The reason repeats nothing of the answer, because it is logged and the answer is
/// the program's output.
pub type NotTheApi = (String, Vec<u8>);

pub async fn parse(answer: Vec<u8>) -> Result<ExecuteResponse, NotTheApi> {
    if answer.len() <= LARGE_ANSWER_BYTES {
        return parse_now(answer);
    }
    let parsed = tokio::task::spawn_blocking(move || parse_now(answer)).await;
    parsed.unwrap_or_else(|error| Err((error.to_string(), Vec::new())))
}

fn parse_now(mut answer: Vec<u8>) -> Result<ExecuteResponse, NotTheApi> {
    // serde would take an array of the four values as well.
    let is_object = answer.trim_ascii_start().first() == Some(&b'{');
    let reason = match serde_json::from_slice(&answer) {
        Ok(response) if is_object => return Ok(response),
        Ok(_) => "it is not an object".to_owned(),
        Err(error) if error.is_data() => {
            format!("a field is missing or of another type, line {} column {}", error.line(), error.column())
        }
        Err(error) => format!("it is not JSON, line {} column {}", error.line(), error.column()),
    };
    answer.truncate(MAX_SHOWN_ANSWER_BYTES);
    Err((reason, answer))
}
