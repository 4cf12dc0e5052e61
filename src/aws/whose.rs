//! Whose certificate a host shows. The TLS library tells that a certificate is not trusted, and not whose it is. A second
//! connection therefore asks for the certificate alone. No request goes through that connection, and the certificate is
//! never accepted.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::machine::certificate::{Names, names};

/// The time limit for each step of the second connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest answer of a proxy to CONNECT that is read.
const LONGEST_HEAD: usize = 8 << 10;

/// The names in the certificate that `host` shows. `host` may have a port, and is asked through `proxy` if there is
/// one. `None` if no certificate comes.
pub async fn certificate_of(host: String, proxy: Option<String>) -> Option<Names> {
    tokio::task::spawn_blocking(move || shown(&host, proxy.as_deref()).ok().flatten()).await.ok().flatten()
}

fn shown(host: &str, proxy: Option<&str>) -> io::Result<Option<Names>> {
    let target = with_port(host, 443);
    let mut stream = match proxy {
        None => connect(&target)?,
        Some(proxy) => through(proxy, &target)?,
    };
    let name = target.rsplit_once(':').map_or(&*target, |(name, _)| name).trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let onlooker = Arc::new(Onlooker { provider: Arc::clone(&provider), seen: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&onlooker) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    // The handshake always fails, because the onlooker accepts no certificate.
    while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
    let seen = onlooker.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(seen.and_then(|der| names(&der)))
}

fn with_port(host: &str, port: u16) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) && !host.ends_with(']');
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
}

fn connect(target: &str) -> io::Result<TcpStream> {
    let mut addresses = target.to_socket_addrs()?;
    let address = addresses.next().ok_or_else(|| io::Error::other("no address"))?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection to the target through a proxy that wants no password.
fn through(proxy: &str, target: &str) -> io::Result<TcpStream> {
    let (scheme, host) = proxy.split_once("://").unwrap_or(("http", proxy));
    if scheme != "http" {
        return Err(io::Error::other("a proxy that speaks TLS itself is not asked"));
    }
    let mut stream = connect(&with_port(host.trim_end_matches('/'), 80))?;
    write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let is_open = head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.0 200");
    if is_open { Ok(stream) } else { Err(io::Error::other("the proxy does not open the way")) }
}

/// Looks at the certificate and refuses it.
#[derive(Debug)]
struct Onlooker {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        refused()
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refused()
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refused()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The onlooker has its certificate before any signature comes, and goes no further.
fn refused<T>() -> Result<T, Error> {
    Err(Error::General("no certificate is accepted".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_only_where_there_is_none() {
        for (host, expected) in [
            ("ec2.eu-west-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com:443"),
            ("127.0.0.1:4566", "127.0.0.1:4566"),
            ("[::1]", "[::1]:443"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(with_port(host, 443), expected);
        }
    }
}
