//! A peer below the protocol: real keys, and bytes that no `Endpoint` sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use certs_dev::Federation;
use liaison_protocol::frame::{CloseCode, Frame, Hello, LaneOpen, VERSION_MAX, VERSION_MIN};
use liaison_tests::anyone::Anyone;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::timeout;

use crate::hostile::link_pems;

/// Connected, with the control stream open, and nothing said.
pub(crate) struct Raw {
    connection: Connection,
    control: SendStream,
    answers: RecvStream,
    hello: Hello,
    _socket: Endpoint,
}

impl Raw {
    pub(crate) async fn connect(files: &Federation, agency: &str, relay: &str) -> Self {
        let (certificate, key) = link_pems(files, agency);
        let provider = CryptoProvider { kx_groups: vec![kx_group::X25519MLKEM768], ..default_provider() };
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(&certificate).unwrap()],
                PrivateKeyDer::from_pem_slice(&key).unwrap(),
            )
            .unwrap();
        tls.alpn_protocols = vec![b"liaison/1".to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut transport = quinn::TransportConfig::default();
        // QUIC itself keeps talking: what is silent or slow is the protocol above it.
        transport.keep_alive_interval(Some(Duration::from_millis(500)));
        config.transport_config(Arc::new(transport));
        let socket = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = files.relays.iter().find(|files| files.id.as_str() == relay).unwrap().quic;
        let connection = socket.connect_with(config, address, "liaison.invalid").unwrap().await.unwrap();
        let (control, answers) = connection.open_bi().await.unwrap();
        let (node, roster) = (agency.parse().unwrap(), files.roster().unwrap());
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            federation: roster.federation(),
            role: roster.role(&node).unwrap(),
            node,
            roster_version: roster.version().0,
            roster_hash: roster.hash(),
            features: vec![],
        };
        Self { connection, control, answers, hello, _socket: socket }
    }

    /// Says a good hello, and waits for the answer: the link is up.
    pub(crate) async fn greet(&mut self) {
        self.say(&Frame::Hello(self.hello.clone()).encode().unwrap()).await;
        let mut byte = [0];
        timeout(Duration::from_secs(10), self.answers.read_exact(&mut byte)).await.unwrap().unwrap();
    }

    /// These bytes on the control stream.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.control.write_all(bytes).await.unwrap();
    }

    /// Opens the lane of routine mail, and says these bytes on it.
    pub(crate) async fn lane(&self, bytes: &[u8]) -> SendStream {
        let (mut send, _) = self.connection.open_bi().await.unwrap();
        send.write_all(&Frame::LaneOpen(LaneOpen { rank: 3 }).encode().unwrap()).await.unwrap();
        send.write_all(bytes).await.unwrap();
        send
    }

    /// The code with which the relay closes the link, within `patience`.
    pub(crate) async fn closed(&self, patience: Duration) -> CloseCode {
        match timeout(patience, self.connection.closed()).await.expect("a close in time") {
            ConnectionError::ApplicationClosed(close) => CloseCode::from_code(close.error_code.into_inner()).unwrap(),
            other => panic!("closed without a code: {other}"),
        }
    }
}
