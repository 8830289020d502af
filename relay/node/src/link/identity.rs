//! This node's certificate and key on links.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::Sha256;

use super::tls::{CertificateRefusal, tls_key};

/// Why a certificate and its key are of no use for links.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate breaks a rule that every peer checks.
    #[error("the link certificate cannot be used: {0}")]
    Certificate(#[from] CertificateRefusal),
    /// Not one certificate in PEM.
    #[error("the link certificate file holds {certificates} certificates in PEM, exactly one is needed")]
    CertificateCount {
        /// How many there are.
        certificates: usize,
    },
    /// Not a PKCS#8 private key in PEM, or not of Ed25519.
    #[error("the link key is no Ed25519 private key in PKCS#8 PEM")]
    Key,
    /// The certificate is for another key.
    #[error("the link key does not belong to the link certificate")]
    Mismatch,
}

/// One Ed25519 certificate of at most 4 KiB, and its private key.
#[derive(Clone)]
pub struct LinkIdentity {
    certified: Arc<CertifiedKey>,
    tls_key: [u8; 32],
    restart_secret: [u8; 32],
}

impl LinkIdentity {
    /// From the text of two PEM files: one certificate, one PKCS#8 key.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificate).flatten().collect();
        let [certificate] = certificates.as_slice() else {
            return Err(IdentityError::CertificateCount { certificates: certificates.len() });
        };
        let key = PrivatePkcs8KeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
        Self::from_der(certificate.clone(), &key)
    }

    /// As [`LinkIdentity::from_pem`], from DER.
    ///
    /// # Errors
    /// As [`LinkIdentity::from_pem`].
    pub fn from_der(certificate: CertificateDer<'static>, key: &PrivatePkcs8KeyDer<'_>) -> Result<Self, IdentityError> {
        let tls_key = tls_key(&certificate)?;
        let restart_secret = restart_secret(key.secret_pkcs8_der())?;
        let signer = any_eddsa_type(key).map_err(|_| IdentityError::Key)?;
        let certified = CertifiedKey::new(vec![certificate], signer);
        certified.keys_match().map_err(|_| IdentityError::Mismatch)?;
        Ok(Self { certified: Arc::new(certified), tls_key, restart_secret })
    }

    /// The Ed25519 public key, as the roster lists it.
    #[must_use]
    pub const fn tls_key(&self) -> &[u8; 32] {
        &self.tls_key
    }

    pub(super) fn certified(&self) -> CertifiedKey {
        CertifiedKey::clone(&self.certified)
    }

    /// Keys the stateless resets: the same after a restart, so that peers learn of it at once.
    pub(super) const fn restart_secret(&self) -> &[u8; 32] {
        &self.restart_secret
    }
}

impl fmt::Debug for LinkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkIdentity").finish_non_exhaustive()
    }
}

/// RFC 9000 section 10.3.2: a secret that outlives the process, from one that the node keeps anyway.
fn restart_secret(key: &[u8]) -> Result<[u8; 32], IdentityError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| IdentityError::Key)?;
    mac.update(b"liaison/1 link-reset\0");
    Ok(mac.finalize().into_bytes().into())
}
