//! The bearer token: read from a file or from systemd's credentials, and compared in constant time.

use std::env;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;

/// The credential's name in systemd's directory of them (`LoadCredential=http-token:…`).
const CREDENTIAL: &str = "http-token";
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// A shorter token could be guessed.
const MIN_BYTES: usize = 16;
const MAX_BYTES: usize = 4096;

pub struct Token(Vec<u8>);

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "HTTP on TCP needs a token: name its file with --http-token-file, or pass it as the systemd credential {CREDENTIAL}"
    )]
    Missing,
    #[error("the token file {path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "the token in {0} is no use: it has {MIN_BYTES} to {MAX_BYTES} visible ASCII characters, as `openssl rand -hex 32` makes them"
    )]
    Unusable(PathBuf),
}

impl Token {
    /// The token in `file`, or systemd's credential.
    pub fn read(file: Option<&Path>) -> Result<Self, TokenError> {
        let passed_on = || Some(PathBuf::from(env::var_os(CREDENTIALS)?).join(CREDENTIAL)).filter(|path| path.exists());
        let path = file.map(Path::to_owned).or_else(passed_on).ok_or(TokenError::Missing)?;
        if std::fs::metadata(&path).is_ok_and(|status| status.permissions().mode() & 0o077 != 0) {
            tracing::warn!(path = %path.display(), "other users can read the token file: run chmod 600 on it");
        }
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(2 * MAX_BYTES as u64).read_to_string(&mut text));
        if let Err(source) = read {
            return Err(TokenError::Unreadable { path, source });
        }
        let token = text.trim();
        let usable =
            (MIN_BYTES..=MAX_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        if usable { Ok(Self(token.as_bytes().to_vec())) } else { Err(TokenError::Unusable(path)) }
    }

    /// Whether `authorization`, the value of the header, has this token.
    pub fn is_in(&self, authorization: &[u8]) -> bool {
        let Some((scheme, given)) = authorization.split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.0.ct_eq(given.trim_ascii()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Token, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        Token::read(Some(file.path()))
    }

    #[test]
    fn a_token_is_taken_with_its_scheme_and_only_as_a_whole() {
        let token = read("0123456789abcdef\n").unwrap();
        assert!(token.is_in(b"Bearer 0123456789abcdef") && token.is_in(b"bearer 0123456789abcdef"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Basic 0123456789abcdef", "0123456789abcdef"] {
            assert!(!token.is_in(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_could_be_guessed_or_not_be_sent_is_refused() {
        for content in ["", "short", "0123456789abcde\u{e9}f", "0123456789 abcdef"] {
            assert!(matches!(read(content), Err(TokenError::Unusable(_))), "{content}");
        }
        assert!(matches!(Token::read(Some(Path::new("/nonexistent"))), Err(TokenError::Unreadable { .. })));
    }
}
