//! The TCP address on which HTTP is served, if configured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::gate::{Gate, Settings};
use super::token::TokenError;
use super::visitor::{Visitor, Visitors};

/// The pause after a failed accept, for example when the process is out of descriptors. Without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening TCP address, with the gate for its requests.
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
            tracing::warn!(%address, "other machines can connect, and the token is sent unencrypted: put TLS in front of it");
        }
        Ok(Some(Self { listener, gate, visitors: Visitors::default() }))
    }

    /// The next connection. Cancel safe.
    pub async fn accept(&self) -> (TcpStream, Arc<Gate>, Visitor) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Answers are written as a whole, so Nagle's algorithm would only delay them.
                    let _ = stream.set_nodelay(true);
                    return (stream, self.gate.clone(), self.visitors.enter());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
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
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}
