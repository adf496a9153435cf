//! Admits requests: on the user's socket every one of the user, on TCP those with the token. Requests of web pages are refused by their
//! Origin and Host (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, ORIGIN};
use reqwest::Url;

use super::token::{Token, TokenError};

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

#[derive(Debug, Clone, PartialEq, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// Also serve HTTP on this TCP address, such as 127.0.0.1:8080: MCP at /mcp, for clients with the token
    #[arg(long, value_name = "ADDRESS", env = "PYTHON_INTERPRETER_MCP_HTTP")]
    pub http: Option<SocketAddr>,

    /// The file with the bearer token [default: the systemd credential http-token]
    #[arg(long, value_name = "FILE", env = "PYTHON_INTERPRETER_MCP_HTTP_TOKEN_FILE")]
    pub http_token_file: Option<PathBuf>,

    /// Host names that clients use for the TCP address, besides this machine's own
    #[arg(long, value_name = "NAME", env = "PYTHON_INTERPRETER_MCP_HTTP_HOST", value_delimiter = ',')]
    pub http_host: Vec<String>,
}

pub struct Gate {
    token: Option<Token>,
    hosts: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum GateRefusal {
    NoToken,
    /// There are too many connections.
    Full,
    Host,
    Origin,
}

impl Gate {
    /// For the user's socket, where the kernel says who the peer is.
    pub fn of_socket() -> Self {
        Self { token: None, hosts: LOOPBACK.map(str::to_owned).into() }
    }

    /// For TCP, with a token.
    pub fn of_tcp(settings: &Settings, address: IpAddr) -> Result<Self, TokenError> {
        let token = Token::read(settings.http_token_file.as_deref())?;
        let mut hosts: Vec<String> = LOOPBACK.map(str::to_owned).into();
        if !address.is_unspecified() {
            hosts.push(if address.is_ipv6() { format!("[{address}]") } else { address.to_string() });
        }
        hosts.extend(settings.http_host.iter().map(|host| host.to_ascii_lowercase()));
        Ok(Self { token: Some(token), hosts })
    }

    pub fn hosts(&self) -> Vec<String> {
        self.hosts.iter().map(|host| host.trim_matches(['[', ']']).to_owned()).collect()
    }

    /// The origins of the same hosts, on any port.
    pub fn origins(&self) -> Vec<String> {
        self.hosts.iter().flat_map(|host| ["http", "https"].map(|scheme| format!("{scheme}://{host}:*"))).collect()
    }

    pub fn admit(&self, headers: &HeaderMap) -> Result<(), GateRefusal> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if !text(HOST).is_some_and(|host| self.knows(without_port(host))) {
            return Err(GateRefusal::Host);
        }
        if let Some(origin) = text(ORIGIN) {
            let host = Url::parse(origin).ok().and_then(|url| url.host_str().map(str::to_owned));
            if !host.is_some_and(|host| self.knows(&host)) {
                return Err(GateRefusal::Origin);
            }
        }
        match &self.token {
            Some(token) if !headers.get(AUTHORIZATION).is_some_and(|given| token.is_in(given.as_bytes())) => {
                Err(GateRefusal::NoToken)
            }
            _ => Ok(()),
        }
    }

    fn knows(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

fn without_port(host: &str) -> &str {
    host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(gate: &Gate, headers: &[(&str, &str)]) -> Result<(), GateRefusal> {
        let header = |(name, value): &(&str, &str)| {
            (hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        gate.admit(&headers.iter().map(header).collect())
    }

    #[test]
    fn only_own_hosts_and_origins_are_admitted() {
        let gate = Gate::of_socket();
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:50082", "[::1]", "[::1]:8080"] {
            assert_eq!(admitted(&gate, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "localhost@evil.example", "127.0.0.2", ""] {
            assert_eq!(admitted(&gate, &[("host", host)]), Err(GateRefusal::Host), "{host}");
        }
        assert_eq!(admitted(&gate, &[]), Err(GateRefusal::Host));
        assert_eq!(admitted(&gate, &[("host", "localhost"), ("origin", "http://localhost:3000")]), Ok(()));
        for origin in ["http://evil.example", "null", "", "file://"] {
            assert_eq!(
                admitted(&gate, &[("host", "localhost"), ("origin", origin)]),
                Err(GateRefusal::Origin),
                "{origin}"
            );
        }
    }

    #[test]
    fn on_tcp_the_token_is_asked_for_and_other_hosts_are_those_that_were_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef").unwrap();
        let settings = Settings {
            http: None,
            http_token_file: Some(file.path().to_owned()),
            http_host: vec!["Python.example".to_owned()],
        };
        let gate = Gate::of_tcp(&settings, IpAddr::from([192, 0, 2, 7])).unwrap();
        let token = ("authorization", "Bearer 0123456789abcdef");
        for host in ["localhost:1", "192.0.2.7:8080", "python.example"] {
            assert_eq!(admitted(&gate, &[("host", host), token]), Ok(()), "{host}");
            assert_eq!(admitted(&gate, &[("host", host)]), Err(GateRefusal::NoToken), "{host}");
        }
        assert_eq!(admitted(&gate, &[("host", "192.0.2.8"), token]), Err(GateRefusal::Host));
    }
}
