//! Files that programs left, as MCP resources.

mod link;
mod recent;
mod uri;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::ErrorData;
use rmcp::model::{ResourceContents, ResourceTemplate};
use serde_json::json;

use crate::interpreter::{FileError, FileSource, Part};
pub use link::link;
pub use recent::Recent;
pub use uri::FileUri;

/// The most bytes that one read returns. Longer files are read in parts.
pub const MAX_READ_BYTES: u64 = 8 * 1024 * 1024;
/// How long a client may cache a file. The content of an id never changes.
pub const CACHE_MILLISECONDS: u64 = 60 * 60 * 1000;

pub fn templates() -> Vec<ResourceTemplate> {
    let template = |pattern: &str, name: &str, title: &str, description: String| {
        ResourceTemplate::new(pattern, name).with_title(title).with_description(description)
    };
    let longest = MAX_READ_BYTES >> 20;
    vec![
        template(
            "python-interpreter://files/{id}/{name}",
            "file",
            "A file that a program left",
            format!(
                "By its id from `files` of a result. The name only tells the type of the content. Up to {longest} MiB."
            ),
        ),
        template(
            "python-interpreter://files/{id}/{name}{?offset,length}",
            "part-of-a-file",
            "A part of a file that a program left",
            format!("`length` bytes, up to {longest} MiB, from `offset` on."),
        ),
    ]
}

/// Reads the file that the URI `text` names.
pub async fn read(text: &str, files: &dyn FileSource) -> Result<ResourceContents, ErrorData> {
    let unknown = |message: String| ErrorData::invalid_params(message, Some(json!({ "uri": text })));
    let uri = text.parse::<FileUri>().map_err(|error| unknown(error.to_string()))?;
    let wanted = uri.length.unwrap_or(MAX_READ_BYTES);
    if wanted > MAX_READ_BYTES {
        return Err(unknown(format!("length is at most {MAX_READ_BYTES}.")));
    }
    let Part { bytes, total } = files.read(&uri.id, uri.offset, wanted).await.map_err(|error| match error {
        FileError::Missing(_) | FileError::NoSource => unknown(format!("Resource not found: {error}.")),
        FileError::Unreadable(_) | FileError::NotReached => {
            ErrorData::internal_error(format!("The resource cannot be read: {error}."), Some(json!({ "uri": text })))
        }
    })?;
    if !uri.is_part() && total > MAX_READ_BYTES {
        let hint = format!("{text}?offset=0&length={MAX_READ_BYTES}");
        return Err(unknown(format!(
            "The file has {total} bytes, more than one read returns: read it in parts, as {hint}"
        )));
    }
    let contents = match as_text(bytes, &uri) {
        Ok(content) => ResourceContents::text(content, text).with_mime_type(uri.mime_type().unwrap_or(PLAIN)),
        Err(bytes) => {
            let kind = uri.mime_type().unwrap_or("application/octet-stream");
            ResourceContents::blob(STANDARD.encode(bytes), text).with_mime_type(kind)
        }
    };
    Ok(contents)
}

const PLAIN: &str = "text/plain";

/// The bytes as text, unless the file's name says that it is none. A character that a part cuts in two is left out.
fn as_text(bytes: Vec<u8>, uri: &FileUri) -> Result<String, Vec<u8>> {
    const LONGEST_REST: usize = 3;
    if !uri.may_be_text() {
        return Err(bytes);
    }
    let is_rest = |byte: &u8| byte & 0xC0 == 0x80;
    let start = match uri.is_part() {
        true => bytes.iter().take(LONGEST_REST).take_while(|byte| is_rest(byte)).count(),
        false => 0,
    };
    match std::str::from_utf8(&bytes[start..]) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) if uri.is_part() && error.error_len().is_none() => {
            Ok(String::from_utf8_lossy(&bytes[start..start + error.valid_up_to()]).into_owned())
        }
        Err(_) => Err(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], uri: &str) -> Option<String> {
        as_text(bytes.to_vec(), &uri.parse().unwrap()).ok()
    }

    #[test]
    fn what_is_text_is_shown_as_text() {
        assert_eq!(text("é\n".as_bytes(), "python-interpreter://files/x/a.csv").as_deref(), Some("é\n"));
        assert_eq!(text(b"print(1)", "python-interpreter://files/x").as_deref(), Some("print(1)"));
        assert_eq!(text(b"\xff", "python-interpreter://files/x/a.csv"), None);
        assert_eq!(text(b"abc", "python-interpreter://files/x/a.png"), None);
    }

    #[test]
    fn a_part_of_a_text_loses_no_more_than_a_cut_character() {
        let uri = "python-interpreter://files/x/a.txt?offset=1&length=4";
        assert_eq!(text(&"éaé".as_bytes()[1..4], uri).as_deref(), Some("a"));
        assert_eq!(text(b"a\xff\xfeb", uri), None);
    }
}
