//! The admin token.

use std::fmt;

use axum::http::{HeaderMap, header};
use liaison_node::config::{SecretError, SecretRef};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What whoever reads /metrics has to show.
pub struct Token(Zeroizing<Vec<u8>>);

/// Why a token is not used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Too short to withstand guessing, or not what a header can carry.
    #[error("{place}: the admin token needs 16 to 1024 visible ASCII characters; make one: openssl rand -hex 32")]
    Weak {
        /// Where it is kept.
        place: SecretRef,
    },
}

impl Token {
    /// Reads it: the first line of its file or credential.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(place: &SecretRef) -> Result<Self, TokenError> {
        let token = place.read_line()?;
        if !(16..=1024).contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::Weak { place: place.clone() });
        }
        Ok(Self(token))
    }

    /// Whether a request shows it, compared in constant time.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| bool::from(shown.ct_eq(self.0.as_slice())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
