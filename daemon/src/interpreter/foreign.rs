//! A service of somebody else's with the same API, which knows nothing beyond the API's fields.

use python_interpreter::wire::{ExecuteRequest, ExecuteResponse};
use python_interpreter::{by_number, rooms, shortened};

use super::client::{AddressError, Answer, ApiClient};
use super::context::CallContext;
use super::failure::{Failure, Limit};
use super::files::{Directory, FileError, FileSource as _, Reading};
use super::interface::{Interpreter, Pending};
use super::settings::Settings;
use super::url::ServiceUrl;

pub struct Foreign {
    client: ApiClient,
    url: ServiceUrl,
    files: Option<Directory>,
}

impl Foreign {
    /// The service that the user named.
    pub fn configured(url: ServiceUrl, settings: &Settings) -> Result<Self, AddressError> {
        Ok(Self { client: ApiClient::service(&url)?, url, files: files(settings) })
    }

    /// A service that was found on this machine. The owner of each connection is checked before anything is sent.
    pub fn detected(port: u16, settings: &Settings) -> Result<Self, AddressError> {
        let url = ServiceUrl::on_this_machine(port);
        Ok(Self { client: ApiClient::service_of_this_user(&url)?, url, files: files(settings) })
    }
}

fn files(settings: &Settings) -> Option<Directory> {
    settings.interpreter_files.clone().map(Directory)
}

impl Interpreter for Foreign {
    fn name(&self) -> &str {
        self.url.as_str()
    }

    fn execute<'a>(
        &'a self,
        request: &'a mut ExecuteRequest,
        limit: Limit,
        context: &'a CallContext,
    ) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            // No field of the API. The request gets it back, because another interpreter may be asked next.
            let most = request.output_characters.take();
            // A service has a time limit of its own; where this one is shorter, closing the connection ends the program.
            let answer = self.client.execute(request, limit.time, limit, context).await;
            request.output_characters = most;
            let mut answer = answer?;
            // A service lists files in no particular order.
            answer.response.files.sort_by(|one, _, other, _| by_number(one, other));
            if let Some(most) = most {
                shorten(&mut answer.response, most);
            }
            Ok(answer)
        })
    }

    fn has_files(&self) -> bool {
        self.files.is_some()
    }

    fn read_file<'a>(&'a self, id: &'a str, offset: u64, length: u64) -> Reading<'a> {
        match &self.files {
            Some(files) => files.read(id, offset, length),
            None => Box::pin(async { Err(FileError::NoSource) }),
        }
    }
}

/// Cuts the output down to `most` characters. A service has nowhere to keep the whole of it.
fn shorten(response: &mut ExecuteResponse, most: usize) {
    let rooms = rooms(most, [&response.stdout, &response.stderr]);
    for (text, room) in [&mut response.stdout, &mut response.stderr].into_iter().zip(rooms) {
        if let Some(shortened) = shortened(text, room, text.len() as u64) {
            *text = shortened;
        }
    }
}
