//! The address of an interpreter service as the user writes it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

/// The path of the API's one call, below a service's base URL.
pub const EXECUTE_PATH: &str = "/v1/execute";

/// A base URL such as `http://localhost:50081`, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceUrlError {
    #[error("\"{0}\" is not a URL such as http://localhost:50081")]
    NotAUrl(String),
    #[error(
        "https is not supported, because this program is built without TLS: use http, or a local proxy that speaks TLS to \
         the interpreter service"
    )]
    Tls,
    #[error("a URL of an interpreter service has no query, fragment or user name")]
    Extra,
}

impl ServiceUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is, asked of a name server if need be.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        reqwest::Url::parse(&self.0).map_err(io::Error::other)?.socket_addrs(|| None)
    }

    pub fn on_this_machine(port: u16) -> Self {
        Self(format!("http://localhost:{port}"))
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ServiceUrl {
    type Err = ServiceUrlError;

    /// Takes the address of the service, or the one of its `/v1/execute`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = reqwest::Url::parse(text.trim()).map_err(|_| ServiceUrlError::NotAUrl(text.to_owned()))?;
        match url.scheme() {
            "http" if url.has_host() => {}
            "https" => return Err(ServiceUrlError::Tls),
            _ => return Err(ServiceUrlError::NotAUrl(text.to_owned())),
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(ServiceUrlError::Extra);
        }
        let base = url.as_str().trim_end_matches('/');
        Ok(Self(base.strip_suffix(EXECUTE_PATH).unwrap_or(base).trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_its_base_or_by_its_execute_path() {
        for text in [
            "http://localhost:50081",
            "http://localhost:50081/",
            "http://localhost:50081/v1/execute",
            " http://localhost:50081/v1/execute/ ",
        ] {
            let url = ServiceUrl::from_str(text).unwrap();
            assert_eq!(url.as_str(), "http://localhost:50081", "{text}");
        }
        let nested = ServiceUrl::from_str("http://host/python/").unwrap();
        assert_eq!(nested.as_str(), "http://host/python");
    }

    #[test]
    fn what_cannot_be_called_is_refused_with_the_reason() {
        assert_eq!(ServiceUrl::from_str("https://localhost"), Err(ServiceUrlError::Tls));
        for text in ["localhost:50081", "", "/tmp/socket", "ftp://localhost", "http://"] {
            assert_eq!(ServiceUrl::from_str(text), Err(ServiceUrlError::NotAUrl(text.to_owned())), "{text}");
        }
        for text in ["http://host/?a=b", "http://host/#x", "http://me@host/", "http://me:secret@host/"] {
            assert_eq!(ServiceUrl::from_str(text), Err(ServiceUrlError::Extra), "{text}");
        }
    }
}
