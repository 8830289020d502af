//! A peer below the protocol: real keys, and bytes that no `Endpoint` sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use certs_dev::Federation;
use liaison_protocol::Roster;
use liaison_protocol::frame::{
    CloseCode, ControlFrame, Decoder, Expect, Frame, Hello, LaneOpen, VERSION_MAX, VERSION_MIN,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::anyone::Anyone;
use crate::keys::link_pems;

/// QUIC itself keeps talking: what is silent or slow is the protocol above it.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// One socket from which any agency dials one relay.
pub struct Dialer {
    socket: Endpoint,
    relay: SocketAddr,
    roster: Arc<Roster>,
}

impl Dialer {
    /// From `address`, which may be any of 127.0.0.0/8, to a relay of the federation.
    ///
    /// # Errors
    /// There is no such relay, or the system gives no port.
    pub fn new(files: &Federation, relay: &str, address: Ipv4Addr) -> Result<Self> {
        let relay = files.relays.iter().find(|files| files.id.as_str() == relay).context("a relay")?.quic;
        let socket = Endpoint::client(SocketAddr::from((address, 0)))?;
        Ok(Self { socket, relay, roster: Arc::new(files.roster()?) })
    }

    /// The same from another socket, to an address that stands for the relay's.
    ///
    /// # Errors
    /// The system gives no port.
    pub fn by_way_of(&self, relay: SocketAddr, address: Ipv4Addr) -> Result<Self> {
        let socket = Endpoint::client(SocketAddr::from((address, 0)))?;
        Ok(Self { socket, relay, roster: self.roster.clone() })
    }

    /// Connects with the keys of `agency` and opens the control stream; nothing is said.
    ///
    /// # Errors
    /// The relay does not let us.
    pub async fn dial(&self, files: &Federation, agency: &str) -> Result<Raw> {
        let connection = self.socket.connect_with(config(files, agency)?, self.relay, "liaison.invalid")?.await?;
        let (control, answers) = connection.open_bi().await?;
        let node = agency.parse()?;
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            federation: self.roster.federation(),
            role: self.roster.role(&node).context("a node of the roster")?,
            node,
            roster_version: self.roster.version().0,
            roster_hash: self.roster.hash(),
            features: vec![],
        };
        let heard = Decoder::new(Expect::Hello);
        Ok(Raw { connection, control, answers, heard, hello, _socket: self.socket.clone() })
    }
}

fn config(files: &Federation, agency: &str) -> Result<quinn::ClientConfig> {
    let (certificate, key) = link_pems(files, agency);
    let provider = CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768], ..default_provider() };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(&certificate)?],
            PrivateKeyDer::from_pem_slice(&key)?,
        )?;
    tls.alpn_protocols = vec![b"liaison/1".to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Connected, with the control stream open.
pub struct Raw {
    connection: Connection,
    control: SendStream,
    answers: RecvStream,
    heard: Decoder,
    hello: Hello,
    _socket: Endpoint,
}

impl Raw {
    /// Says a good hello, and waits for the answer: the link is up.
    ///
    /// # Errors
    /// The relay closes instead.
    pub async fn greet(&mut self) -> Result<()> {
        let hello = Frame::Hello(self.hello.clone()).encode()?;
        self.say(&hello).await?;
        let mut byte = [0];
        self.answers.read_exact(&mut byte).await?;
        self.heard.push(&byte);
        Ok(())
    }

    /// The next frame that the relay says on the control stream, after its hello; none once it says no more.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn hear(&mut self) -> Result<Option<ControlFrame>> {
        loop {
            if let Some(frame) = self.heard.next_frame()? {
                match frame {
                    Frame::Control(frame) => return Ok(Some(frame)),
                    _ => continue,
                }
            }
            let Some(chunk) = self.answers.read_chunk(64 * 1024, true).await? else { return Ok(None) };
            self.heard.push(&chunk.bytes);
        }
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// These bytes on the control stream.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.control.write_all(bytes).await?)
    }

    /// Opens the lane of `rank`, and says these bytes on it; both its ends.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn open_lane(&self, rank: u8, bytes: &[u8]) -> Result<(SendStream, RecvStream)> {
        let (mut send, answers) = self.connection.open_bi().await?;
        send.write_all(&Frame::LaneOpen(LaneOpen { rank }).encode()?).await?;
        send.write_all(bytes).await?;
        Ok((send, answers))
    }

    /// The same, without looking at the answers.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn lane(&self, rank: u8, bytes: &[u8]) -> Result<SendStream> {
        Ok(self.open_lane(rank, bytes).await?.0)
    }

    /// Waits until the relay closes the link: its code; none if the connection ended otherwise.
    pub async fn closed(&self) -> Option<CloseCode> {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => CloseCode::from_code(close.error_code.into_inner()),
            _ => None,
        }
    }
}
