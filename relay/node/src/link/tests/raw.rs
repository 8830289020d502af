//! Peers that break rules: quinn and rustls, used as we would never use them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::frame::{Frame, Hello, LaneOpen};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::*;

/// Takes every server.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a raw peer offers; the default is what we accept.
pub(super) struct Offer {
    pub(super) kx: Vec<&'static dyn SupportedKxGroup>,
    pub(super) alpn: &'static [u8],
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Vec<u8>,
    /// Bytes that the peer lets us have under way on one stream.
    pub(super) stream_window: u32,
    /// Streams that the peer lets us open.
    pub(super) streams: u32,
}

impl Offer {
    pub(super) fn of(certified: &Certified) -> Self {
        Self {
            kx: vec![kx_group::X25519MLKEM768],
            alpn: b"liaison/1",
            chain: vec![certified.certificate.clone()],
            key: certified.key.clone(),
            stream_window: 1 << 20,
            streams: 5,
        }
    }

    /// The TLS configuration; rustls would resume and send early data with it, if it had a ticket.
    pub(super) fn tls(&self) -> rustls::ClientConfig {
        let provider = CryptoProvider { kx_groups: self.kx.clone(), ..default_provider() };
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let mut config = if self.chain.is_empty() {
            builder.with_no_client_auth()
        } else {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
            let certified = CertifiedKey::new(self.chain.clone(), any_supported_type(&key).unwrap());
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        config.enable_early_data = true;
        config
    }

    pub(super) fn quic(&self) -> quinn::ClientConfig {
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(self.tls()).unwrap()));
        let mut transport = quinn::TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.streams))
            .keep_alive_interval(Some(Duration::from_millis(200)));
        config.transport_config(Arc::new(transport));
        config
    }
}

pub(super) fn socket() -> quinn::Endpoint {
    quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
}

/// Connects, and waits for the refusal.
pub(super) async fn refusal(node: &Node, offer: &Offer) -> ConnectionError {
    let socket = socket();
    let connecting = socket.connect_with(offer.quic(), node.address(), "liaison.invalid").unwrap();
    within("a refusal", PATIENCE, async {
        match connecting.await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    })
    .await
}

/// A raw peer after the TLS handshake.
pub(super) struct RawPeer {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    _socket: quinn::Endpoint,
}

impl RawPeer {
    /// Connected, with the control stream open, and nothing said.
    pub(super) async fn connect(node: &Node, offer: &Offer) -> Self {
        Self::connect_by(socket(), node.address(), offer).await
    }

    pub(super) async fn connect_by(socket: quinn::Endpoint, address: SocketAddr, offer: &Offer) -> Self {
        let connecting = socket.connect_with(offer.quic(), address, "liaison.invalid").unwrap();
        let connection = within("tls", PATIENCE, connecting).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        Self { connection, send, recv, _socket: socket }
    }

    /// An agency `ncb.ee` that has said a good hello.
    pub(super) async fn greet(node: &mut Node, federation: &Federation) -> (Self, LinkHandle) {
        Self::greet_as(node, &Offer::of(&federation.certificates[&id("ncb.ee")])).await
    }

    pub(super) async fn greet_as(node: &mut Node, offer: &Offer) -> (Self, LinkHandle) {
        let mut peer = Self::connect(node, offer).await;
        peer.say(&Frame::Hello(hello("ncb.ee"))).await;
        let handle = node.up().await;
        (peer, handle)
    }

    pub(super) async fn say(&mut self, frame: &Frame) {
        self.send.write_all(&frame.encode().unwrap()).await.unwrap();
    }

    /// Opens a lane and writes these bytes after the opening.
    pub(super) async fn lane(&self, rank: u8, bytes: &[u8]) -> SendStream {
        let (mut send, _) = self.connection.open_bi().await.unwrap();
        send.write_all(&Frame::LaneOpen(LaneOpen { rank }).encode().unwrap()).await.unwrap();
        send.write_all(bytes).await.unwrap();
        send
    }

    /// The close code and words with which the node ends the link.
    pub(super) async fn closed(&self) -> (CloseCode, String) {
        match within("a close", PATIENCE, self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                let code = CloseCode::from_code(close.error_code.into_inner()).expect("a known code");
                (code, String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("closed without a code: {other}"),
        }
    }
}

/// A good hello of an agency.
pub(super) fn hello(node: &str) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        federation: FederationId([7; 16]),
        node: id(node),
        role: Role::Agency,
        roster_version: 1,
        roster_hash: Hash::ZERO,
        features: vec![],
    }
}
