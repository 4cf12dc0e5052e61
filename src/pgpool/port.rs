//! Whether Pgpool on this node answers at the port at which it serves clients.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::observe::seen::Port;

/// The longest wait for an answer. On its own machine a Pgpool that serves answers within microseconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Connects to Pgpool, and closes the connection at once. Nothing is sent.
pub async fn knock(address: SocketAddr) -> Port {
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Port::Answers,
        Ok(Err(_)) | Err(_) => Port::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_answers_while_somebody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(knock(address).await, Port::Answers);
        // A process that another test is starting may have the socket open for a moment. Closing it here would not end it.
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        assert_eq!(knock(address).await, Port::Silent);
    }
}
