//! Why a link ended, or never came up.

use std::fmt;

use liaison_protocol::frame::{CloseCode, FrameError, HelloError};
use quinn::{ConnectionError, ReadError, TransportErrorCode, WriteError};

/// Characters of a peer's own words that we repeat.
const PEER_TEXT_CHARS_MAX: usize = 200;
/// QUIC crypto errors are 0x100 and the TLS alert (RFC 9001 section 4.8).
const CRYPTO_ERRORS: std::ops::Range<u64> = 0x100..0x200;

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Nobody: the network, or a restart.
    Network,
    /// The peer.
    Peer,
    /// We.
    Us,
}

/// The end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub by: By,
    /// One word of a bounded set: for metrics.
    pub label: &'static str,
    /// What we tell the peer, if we end it.
    pub code: CloseCode,
    /// For people.
    pub detail: String,
}

impl End {
    pub(super) fn us(code: CloseCode, detail: impl Into<String>) -> Self {
        Self { by: By::Us, label: code.as_str(), code, detail: detail.into() }
    }

    fn peer(label: &'static str, detail: impl Into<String>) -> Self {
        Self { by: By::Peer, label, code: CloseCode::Shutdown, detail: detail.into() }
    }

    pub(super) fn network(label: &'static str, detail: impl Into<String>) -> Self {
        Self { by: By::Network, label, code: CloseCode::Timeout, detail: detail.into() }
    }

    /// What a failed handshake is counted under: one of [`crate::metric::HANDSHAKE_FAILURES`].
    pub(super) fn metric(&self) -> &'static str {
        match self.label {
            "federation" => "federation",
            "not-in-roster" | "roster-removed" => "roster",
            "quic-version" | "tls-version" | "version" => "version",
            "reset" | "timeout" | "unresolved" => "timeout",
            "wrong-identity" => "identity",
            "bad-signature" | "no-certificate" | "not-ed25519" | "extra-certificates" => "certificate",
            label if label.starts_with("certificate") => "certificate",
            _ => "other",
        }
    }

    /// Whether the peer has closed this link for another one. Who dialed and has no other one has a rival.
    pub(super) fn is_rivalry(&self) -> bool {
        self.by == By::Peer && self.label == CloseCode::DuplicateLink.as_str()
    }

    /// Whether asking again at once would bring the same answer.
    pub(super) fn is_refusal(&self) -> bool {
        self.by != By::Network && !matches!(self.label, "shutdown" | "draining" | "overload" | "duplicate-link")
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.by == By::Peer { " (by the peer)" } else { "" };
        write!(f, "{}{by}", self.label)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::us(error.close_code(), error.to_string())
    }
}

impl From<HelloError> for End {
    fn from(error: HelloError) -> Self {
        Self::us(error.close_code(), error.to_string())
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => error.into(),
            error => Self::us(CloseCode::ProtocolViolation, format!("a stream was cut off: {error}")),
        }
    }
}

impl From<WriteError> for End {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            error => Self::us(CloseCode::ProtocolViolation, format!("a stream was refused: {error}")),
        }
    }
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = u64::from(close.error_code);
                let label = CloseCode::from_code(code).map_or("unknown-code", CloseCode::as_str);
                let text = peer_text(&close.reason);
                Self::peer(label, if label == "unknown-code" { format!("{code} {text}") } else { text })
            }
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Self::peer("overload", "takes no connections now")
            }
            ConnectionError::ConnectionClosed(close) => {
                let (label, detail) = handshake_refusal(close.error_code, &close.reason);
                Self::peer(label, detail)
            }
            ConnectionError::TransportError(error) => {
                let (label, detail) = handshake_refusal(error.code, error.reason.as_bytes());
                Self { by: By::Us, label, code: CloseCode::ProtocolViolation, detail }
            }
            ConnectionError::VersionMismatch => Self::peer("quic-version", "speaks no QUIC version that we speak"),
            ConnectionError::Reset => Self::network("reset", "the peer no longer knows the link: it restarted"),
            ConnectionError::TimedOut => Self::network("timeout", "the peer does not answer"),
            ConnectionError::LocallyClosed => Self::us(CloseCode::Shutdown, "closed here"),
            ConnectionError::CidsExhausted => Self::network("local", error.to_string()),
        }
    }
}

/// Names the refusals of a handshake: in their own words where one of our verifiers speaks, else by TLS alert.
fn handshake_refusal(code: TransportErrorCode, reason: &[u8]) -> (&'static str, String) {
    const OURS: [&str; 6] = [
        "not-in-roster",
        "wrong-identity",
        "not-ed25519",
        "extra-certificates",
        "certificate-too-large",
        "certificate-unreadable",
    ];
    let (number, text) = (u64::from(code), peer_text(reason));
    if !CRYPTO_ERRORS.contains(&number) {
        return ("transport", format!("{code}: {text}"));
    }
    let ours = OURS.into_iter().find_map(|word| Some((word, text.split_once(word)?.1.strip_prefix(": ")?)));
    if let Some((word, detail)) = ours {
        // rustls wraps the words in the names of its types.
        return (word, detail.trim_end_matches(')').to_owned());
    }
    let label = match number - CRYPTO_ERRORS.start {
        40 => "no-common-key-exchange",
        42..=49 => "certificate",
        51 => "bad-signature",
        70 => "tls-version",
        116 => "no-certificate",
        120 => "wrong-protocol",
        _ => "tls",
    };
    (label, text)
}

/// A peer's words, harmless and short.
fn peer_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(PEER_TEXT_CHARS_MAX).collect()
}
