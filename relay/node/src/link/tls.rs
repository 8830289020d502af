//! TLS on links: 1.3 only, X25519MLKEM768 only, mutual, every key pinned in the roster.
//!
//! A certificate is a wrapping for its Ed25519 key: names, chains and dates in it decide nothing. There are no
//! tickets, no resumption and no early data, so that no peer comes back without the roster being asked.

use std::fmt;
use std::sync::Arc;

use liaison_protocol::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::quic::Suite;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error as TlsError, OtherError,
    PeerMisbehaved, ServerConfig, SignatureScheme,
};

use super::identity::LinkIdentity;
use super::peers::PeersNow;

/// The protocol's name in the handshake.
pub(super) const ALPN: &[u8] = b"liaison/1";
/// Sent in the client hello for the sake of middleboxes' peace; nobody reads it.
pub(super) const SERVER_NAME: &str = "liaison.invalid";
/// Longest certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

/// DER of an Ed25519 SubjectPublicKeyInfo, up to the key (RFC 8410 section 4).
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The only signatures that a handshake may carry.
static ED25519_ONLY: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::aws_lc_rs::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::aws_lc_rs::ED25519])],
};

/// Why a certificate is refused. The first word is what the refused peer is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// More than the certificate itself.
    #[error("extra-certificates: {extra} beside the one that is allowed")]
    Extra {
        /// How many too many.
        extra: usize,
    },
    /// Longer than [`CERTIFICATE_BYTES_MAX`].
    #[error("certificate-too-large: {bytes} bytes, at most 4096 allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The key is not of Ed25519.
    #[error("not-ed25519: the certificate's key must be of Ed25519")]
    NotEd25519,
    /// The roster names no node with this key.
    #[error("not-in-roster: no node has this key")]
    NotInRoster,
    /// Another node answers where we dialed.
    #[error("wrong-identity: {found} answers where {expected} was dialed")]
    OtherNode {
        /// Who was dialed.
        expected: NodeId,
        /// Whose key it is.
        found: NodeId,
    },
    /// Not X.509.
    #[error("certificate-unreadable: it is not X.509")]
    Unreadable,
}

impl From<CertificateRefusal> for TlsError {
    fn from(refusal: CertificateRefusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(InWords(refusal)))))
    }
}

/// rustls tells the refused peer an error's `Debug`: that must be the words.
#[derive(thiserror::Error)]
#[error("{0}")]
struct InWords(CertificateRefusal);

impl fmt::Debug for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The Ed25519 key in a certificate.
pub(super) fn tls_key(certificate: &CertificateDer<'_>) -> Result<[u8; 32], CertificateRefusal> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateRefusal::TooLarge { bytes: certificate.len() });
    }
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| CertificateRefusal::Unreadable)?;
    let spki = parsed.subject_public_key_info();
    let key = spki.strip_prefix(&ED25519_SPKI_PREFIX).and_then(|key| key.try_into().ok());
    key.ok_or(CertificateRefusal::NotEd25519)
}

/// Asks the roster of the moment whether a certificate's key may connect.
struct Pinned {
    peers: PeersNow,
    /// The node that was dialed; any node where we are dialed.
    expected: Option<NodeId>,
}

impl Pinned {
    // [LINK-2]
    fn check(&self, certificate: &CertificateDer<'_>, extra: usize) -> Result<(), CertificateRefusal> {
        if extra > 0 {
            return Err(CertificateRefusal::Extra { extra });
        }
        let key = tls_key(certificate)?;
        let (found, _) = self.peers.borrow().node_by_tls_key(&key).ok_or(CertificateRefusal::NotInRoster)?;
        match &self.expected {
            Some(expected) if *expected != found => {
                Err(CertificateRefusal::OtherNode { expected: expected.clone(), found })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// TLS 1.2 is off; should it ever be on by mistake, it fails here too.
fn no_tls12() -> Result<HandshakeSignatureValid, TlsError> {
    Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.check(end_entity, intermediates.len())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.check(end_entity, intermediates.len())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The provider, passed to every configuration and installed nowhere: one key exchange, so that a downgrade is a
/// failure and not a preference; AES-128 only where QUIC itself demands it, in Initial packets.
// [LINK-1]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768],
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        ..default_provider()
    })
}

/// Configurations that this module cannot make, which would be a change in a library.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be configured: {0}")]
pub struct TlsSetupError(String);

fn setup<E: fmt::Display>(error: E) -> TlsSetupError {
    TlsSetupError(error.to_string())
}

/// Keys of QUIC's Initial packets (RFC 9001 section 5.2): public by design.
fn initial_suite() -> Result<Suite, TlsSetupError> {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
    suite.ok_or_else(|| setup("AES-128-GCM is missing"))
}

/// For where we are dialed.
pub(super) fn server_config(identity: &LinkIdentity, peers: PeersNow) -> Result<QuicServerConfig, TlsSetupError> {
    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(identity.certified()));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_client_cert_verifier(Arc::new(Pinned { peers, expected: None }))
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // [LINK-3]
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    QuicServerConfig::with_initial(Arc::new(config), initial_suite()?).map_err(setup)
}

/// For dialing one node.
pub(super) fn client_config(
    identity: &LinkIdentity,
    peers: PeersNow,
    expected: NodeId,
) -> Result<QuicClientConfig, TlsSetupError> {
    let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(identity.certified()));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { peers, expected: Some(expected) }))
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // [LINK-3]
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    QuicClientConfig::with_initial(Arc::new(config), initial_suite()?).map_err(setup)
}
