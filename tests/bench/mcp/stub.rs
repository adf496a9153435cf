//! An interpreter service that costs next to nothing: every request of a kept connection gets the same answer at once. What it
//! does not do is run anything.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;

use anyhow::{Result, ensure};

use crate::connection::content_length;

const RESULT: &str = r#"{"stdout":"42\n","stderr":"","exit_code":0,"files":{}}"#;
/// Larger than any request that is measured.
const REQUEST_BYTES: usize = 16 * 1024;

pub struct Stub {
    pub address: SocketAddr,
    first_request: Arc<OnceLock<Vec<u8>>>,
}

impl Stub {
    /// Serves until the benchmark ends.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stub = Stub { address: listener.local_addr()?, first_request: Arc::default() };
        let first_request = stub.first_request.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let first_request = first_request.clone();
                // A thread for each: none waits for another, and an answer costs two system calls.
                thread::spawn(move || {
                    // A client's way to leave is an error.
                    let _ = serve(connection, &first_request);
                });
            }
        });
        Ok(stub)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every byte of the first request there was.
    pub fn first_request(&self) -> Option<&[u8]> {
        self.first_request.get().map(Vec::as_slice)
    }
}

/// What every request gets.
pub fn response() -> Vec<u8> {
    let length = RESULT.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{RESULT}")
        .into_bytes()
}

fn serve(mut connection: TcpStream, first_request: &OnceLock<Vec<u8>>) -> Result<()> {
    connection.set_nodelay(true)?;
    let response = response();
    let (mut buffer, mut length) = ([0; REQUEST_BYTES], 0);
    loop {
        let received = connection.read(&mut buffer[length..])?;
        ensure!(received > 0, "there is no more, or no room for it");
        length += received;
        if is_complete(&buffer[..length])? {
            first_request.get_or_init(|| buffer[..length].to_vec());
            length = 0;
            connection.write_all(&response)?;
        }
    }
}

fn is_complete(request: &[u8]) -> Result<bool> {
    let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    Ok(request.len() >= end + 4 + content_length(&request[..end])?)
}
