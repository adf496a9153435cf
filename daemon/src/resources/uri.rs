//! The URI of a file, or of a part of one: `python-interpreter://files/ID/NAME?offset=…&length=…`.

use std::fmt;
use std::str::FromStr;

use mime_guess::mime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use python_interpreter::wire::is_file_id;
use reqwest::Url;

const SCHEME: &str = "python-interpreter";
const HOST: &str = "files";
/// Everything except the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUri {
    pub id: String,
    /// The file's name without its directory; may be empty. It determines the media type.
    pub name: String,
    pub offset: u64,
    pub length: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileUriError {
    #[error("{0:?} is no URI of this server's files, as in python-interpreter://files/ID/NAME.")]
    Form(String),
    #[error("{0:?} has a wrong offset or length: each is a number of bytes.")]
    Part(String),
}

impl FileUri {
    /// The file with this id that was at `path`.
    pub fn new(id: &str, path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Self { id: id.to_owned(), name, offset: 0, length: None }
    }

    pub fn is_part(&self) -> bool {
        self.offset > 0 || self.length.is_some()
    }

    /// The media type by the name.
    pub fn mime_type(&self) -> Option<&'static str> {
        mime_guess::from_path(&self.name).first_raw()
    }

    /// Whether the content may be text, by the name.
    pub fn may_be_text(&self) -> bool {
        let Some(kind) = mime_guess::from_path(&self.name).first() else { return true };
        let is_markup = matches!(kind.suffix(), Some(mime::XML | mime::JSON));
        let is_binary = matches!(kind.type_(), mime::IMAGE | mime::AUDIO | mime::VIDEO | mime::FONT);
        is_markup || !is_binary
    }
}

impl fmt::Display for FileUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}://{HOST}/{}", self.id)?;
        if !self.name.is_empty() {
            write!(formatter, "/{}", utf8_percent_encode(&self.name, ENCODED))?;
        }
        match (self.offset, self.length) {
            (0, None) => Ok(()),
            (offset, None) => write!(formatter, "?offset={offset}"),
            (offset, Some(length)) => write!(formatter, "?offset={offset}&length={length}"),
        }
    }
}

impl FromStr for FileUri {
    type Err = FileUriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || FileUriError::Form(text.chars().take(200).collect());
        let rest = text.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix("://")).ok_or_else(form)?;
        let rest = rest.strip_prefix(HOST).and_then(|rest| rest.strip_prefix('/')).ok_or_else(form)?;
        // Only the query is parsed as a URL: a URL parser would resolve `..` in the path.
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (id, name) = path.split_once('/').unwrap_or((path, ""));
        if !is_file_id(id) || name.contains(['/', '#']) || query.contains('#') {
            return Err(form());
        }
        let name = percent_decode_str(name).decode_utf8().map_err(|_| form())?.into_owned();
        let mut uri = Self { id: id.to_owned(), name, offset: 0, length: None };
        let query = Url::parse(&format!("{SCHEME}://{HOST}/?{query}")).map_err(|_| form())?;
        for (key, value) in query.query_pairs() {
            let number = value.parse().map_err(|_| FileUriError::Part(text.chars().take(200).collect()))?;
            match &*key {
                "offset" => uri.offset = number,
                "length" => uri.length = Some(number),
                _ => return Err(form()),
            }
        }
        Ok(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_what_it_was_made_of() {
        for path in ["/workspace/plot.png", "/workspace/a/ü #?%.csv", "/workspace/..", "stdout.txt", ""] {
            let uri = FileUri::new("abc_-9", path);
            assert_eq!(uri.to_string().parse::<FileUri>().unwrap(), uri, "{path}");
        }
        let part = FileUri { offset: 5, length: Some(7), ..FileUri::new("x", "a.txt") };
        assert_eq!(part.to_string(), "python-interpreter://files/x/a.txt?offset=5&length=7");
        assert_eq!(part.to_string().parse::<FileUri>().unwrap(), part);
    }

    #[test]
    fn anything_else_is_no_file() {
        for text in [
            "",
            "file:///etc/passwd",
            "python-interpreter://files/",
            "python-interpreter://files/../x",
            "python-interpreter://files/a/b/c",
            "python-interpreter://other/a",
            "python-interpreter://files/a%2Fb",
            "python-interpreter://files/a/%ff",
            "python-interpreter://files/a/b#c",
            "python-interpreter://files/a?other=1",
        ] {
            assert!(matches!(text.parse::<FileUri>(), Err(FileUriError::Form(_))), "{text}");
        }
        for part in ["offset=-1", "length=x", "offset=1e9", "length="] {
            let text = format!("python-interpreter://files/a?{part}");
            assert!(matches!(text.parse::<FileUri>(), Err(FileUriError::Part(_))), "{text}");
        }
    }

    #[test]
    fn the_name_tells_the_type() {
        let kind = |name| FileUri::new("x", name).mime_type();
        assert_eq!(
            [kind("a.png"), kind("a.csv"), kind("a.JSON"), kind("a")],
            [Some("image/png"), Some("text/csv"), Some("application/json"), None]
        );
        let text = |name| FileUri::new("x", name).may_be_text();
        assert!(text("a.svg") && text("a.json") && text("a") && !text("a.png") && !text("a.mp4"));
    }
}
