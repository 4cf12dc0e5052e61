//! One listener: accepts, serves each connection with a handler, and stops when its handle goes.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How long a connection may go on after its server was stopped.
const GRACE: Duration = Duration::from_secs(1);

/// How long to wait before accepting again after the system refused to, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped on purpose")]
pub(crate) struct Hangup;

pub(crate) type HttpResponse = Response<Full<Bytes>>;

/// Answers the requests of one listener.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Whether connections are accepted at all; otherwise they are closed at once.
    fn is_open(&self) -> bool {
        true
    }

    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Result<HttpResponse, Hangup>> + Send;
}

/// A running listener. It stops when this is dropped: nothing new is accepted, and calls on their way get a second.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<watch::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(listener: TcpListener, handler: impl Handler) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(accept(listener, Arc::new(handler), stopped));
        Ok(Self { address, stop: Some(stop), task: Some(task) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops and waits until every connection is closed.
    pub async fn stop(mut self) {
        self.stop = None;
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the embedded endpoint's listener ended badly");
        }
    }
}

/// Accepts until the other end of `stopped` is gone.
async fn accept<H: Handler>(listener: TcpListener, handler: Arc<H>, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, _)) if handler.is_open() => {
                connections.spawn(serve(stream, Arc::clone(&handler), stopped.clone()));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the embedded endpoint cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve<H: Handler>(stream: TcpStream, handler: Arc<H>, mut stopped: watch::Receiver<()>) {
    let service = service_fn(|request| {
        let handler = Arc::clone(&handler);
        async move { handler.answer(request).await }
    });
    // Small answers, and clients that wait for each: without this, every one waits for the client's delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "a connection to the embedded endpoint ended before its first request");
        return;
    }
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection to the embedded endpoint ended early");
    }
}
