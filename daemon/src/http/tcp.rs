//! The TCP address on which HTTP is served when asked for, and what a request there needs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::gate::{Gate, Settings};
use super::token::TokenError;
use super::visitor::{Visitor, Visitors};

/// How long accepting pauses when the process is out of descriptors or memory, so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A TCP address on which HTTP is served, with what a request there needs.
pub struct Tcp {
    listener: TcpListener,
    gate: Arc<Gate>,
    visitors: Visitors,
}

impl Tcp {
    pub async fn bind(settings: &Settings) -> Result<Option<Self>, TcpError> {
        let Some(address) = settings.http else { return Ok(None) };
        let gate = Arc::new(Gate::of_tcp(settings, address.ip())?);
        let listener = TcpListener::bind(address).await.map_err(|source| TcpError::Listen { address, source })?;
        let address = listener.local_addr().unwrap_or(address);
        tracing::info!(%address, "listening");
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "other machines can connect, and the token is sent in the clear: put TLS in front of it");
        }
        Ok(Some(Self { listener, gate, visitors: Visitors::default() }))
    }

    /// Nothing is lost when the future is dropped before it is done.
    pub async fn accept(&self) -> (TcpStream, Arc<Gate>, Visitor) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Answers are whole; waiting for more to send would only delay them.
                    let _ = stream.set_nodelay(true);
                    return (stream, self.gate.clone(), self.visitors.enter());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TcpError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("{address} cannot be listened on: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}
