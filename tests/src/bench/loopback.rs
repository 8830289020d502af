//! Bare QUIC on this machine: the same frames, encrypted the same way, with nothing behind it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certs_dev::{Federation, Kdf, Options, make};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::anyone::Anyone;

const ALPN: &[u8] = b"bench";

/// Frames of `frame_bytes` a second, from one endpoint to another on one stream.
pub(super) async fn frames_per_second(frame_bytes: usize, run: Duration) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let federation = make(&Options { kdf: Kdf::Fast, ..Options::new(folder.path().join("federation")) })?;
    let server = Endpoint::server(server(&federation)?, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let client = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let connecting = client.connect_with(self::client()?, server.local_addr()?, "bench.invalid")?;
    let accepting = async { anyhow::Ok(server.accept().await.context("nobody connects")?.await?) };
    let (sender, receiver) = tokio::try_join!(async { anyhow::Ok(connecting.await?) }, accepting)?;
    let begin = Instant::now();
    let (sent, received) = tokio::try_join!(send(sender, frame_bytes, run), receive(receiver))?;
    anyhow::ensure!(sent == received, "{sent} bytes were sent, {received} received");
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    Ok((received / frame_bytes) as f64 / begin.elapsed().as_secs_f64())
}

async fn send(connection: Connection, frame_bytes: usize, run: Duration) -> Result<usize> {
    let mut stream = connection.open_uni().await?;
    let (frame, begin, mut sent) = (vec![7u8; frame_bytes], Instant::now(), 0);
    while begin.elapsed() < run {
        stream.write_all(&frame).await?;
        sent += frame_bytes;
    }
    stream.finish()?;
    stream.stopped().await?;
    Ok(sent)
}

async fn receive(connection: Connection) -> Result<usize> {
    let mut stream = connection.accept_uni().await?;
    let mut received = 0;
    while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
        received += chunk.bytes.len();
    }
    Ok(received)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768], ..default_provider() })
}

fn server(federation: &Federation) -> Result<ServerConfig> {
    let relay = federation.relays.first().context("a relay")?;
    let folder = federation.relay_config(&relay.id);
    let folder = folder.parent().context("a folder")?;
    let certificate = CertificateDer::from_pem_file(folder.join("link.cert.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("link.key.pem"))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Ok(ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?)))
}

fn client() -> Result<ClientConfig> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}
