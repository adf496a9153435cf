//! Who asks for an execution, as its request's headers say.

use hyper::header::HeaderMap;

use crate::wire::{CLIENT_HEADER, EXECUTION_ID_HEADER, LEARN_HEADER, is_name};

#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The execution's name in the caller's log.
    pub execution_id: Option<String>,
    /// The one of the caller's clients that the execution is for.
    pub client: Option<String>,
    /// Whether the modules that the program imports count for the preload.
    pub learns: bool,
}

impl Caller {
    /// Ignores a header that is no name.
    pub fn of(headers: &HeaderMap) -> Self {
        let name = |header| {
            let text = headers.get(header).and_then(|value| value.to_str().ok());
            text.filter(|text| is_name(text)).map(str::to_owned)
        };
        let learns = headers.get(LEARN_HEADER).is_none_or(|value| value == "yes");
        Self { execution_id: name(EXECUTION_ID_HEADER), client: name(CLIENT_HEADER), learns }
    }
}
