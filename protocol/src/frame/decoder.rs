//! From a stream's bytes to frames, without trusting a length.

use std::fmt;

use bytes::{Buf, BytesMut};

use super::{FRAME_HEADER_BYTES, Frame, FrameError, FrameType};

/// Room for frames of this size is kept from frame to frame.
const ROOM_KEPT_BYTES_MAX: usize = 64 * 1024;

/// Which frames may come next on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Acknowledgements: the way back on a lane that we opened.
    Acks,
    /// Any frame of the control stream but hello.
    Control,
    /// The control stream's first frame.
    Hello,
    /// The first frame of a lane that the peer opened.
    LaneOpen,
    /// Transfers: after [`Expect::LaneOpen`].
    Transfer,
}

impl Expect {
    const fn allows(self, frame: FrameType) -> bool {
        match self {
            Self::Acks => matches!(frame, FrameType::Acks),
            Self::Control => (frame as u8) < (FrameType::LaneOpen as u8) && !matches!(frame, FrameType::Hello),
            Self::Hello => matches!(frame, FrameType::Hello),
            Self::LaneOpen => matches!(frame, FrameType::LaneOpen),
            Self::Transfer => matches!(frame, FrameType::Transfer),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acks => "acks",
            Self::Control => "a control frame",
            Self::Hello => "hello",
            Self::LaneOpen => "lane open",
            Self::Transfer => "a transfer",
        })
    }
}

/// Cuts one stream's bytes into frames.
///
/// A frame's type and length are judged as soon as its five header bytes are there: nothing is set aside for a frame
/// that must not come or is too long, and the room for one that may come grows with its bytes, not with its claim.
/// Hello and lane open come once: after them the decoder expects what follows them.
#[derive(Debug)]
pub struct Decoder {
    expect: Expect,
    buffer: BytesMut,
}

impl Decoder {
    /// A decoder for the start of a stream.
    #[must_use]
    pub fn new(expect: Expect) -> Self {
        Self { expect, buffer: BytesMut::new() }
    }

    /// Takes the stream's next bytes. Call [`Decoder::next_frame`] until it gives none before taking more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The stream is of no use any more: close the link with [`FrameError::close_code`].
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((frame, length)) = self.head()? else { return Ok(None) };
        let Some(payload) = self.buffer.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length) else { return Ok(None) };
        let decoded = Frame::decode(frame, payload)?;
        self.buffer.advance(FRAME_HEADER_BYTES + length);
        if length > ROOM_KEPT_BYTES_MAX {
            // A stream must not keep the room of the longest frame that it ever carried.
            self.buffer = BytesMut::from(self.buffer.as_ref());
        }
        self.expect = match self.expect {
            Expect::Hello => Expect::Control,
            Expect::LaneOpen => Expect::Transfer,
            unchanged => unchanged,
        };
        Ok(Some(decoded))
    }

    /// Whether a frame has begun and not ended. At a stream's end this is a violation.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes held.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Type and payload's length of the frame that comes next, once its five bytes are there. The type is judged as soon
    /// as its byte is ([FRAME-1]).
    ///
    /// # Errors
    /// As [`Decoder::next_frame`].
    pub fn head(&self) -> Result<Option<(FrameType, usize)>, FrameError> {
        let Some(&code) = self.buffer.first() else { return Ok(None) };
        let frame = FrameType::from_code(code).ok_or(FrameError::UnknownType { code })?;
        if !self.expect.allows(frame) {
            return Err(FrameError::Unexpected { frame, expected: self.expect });
        }
        let Some(length) = self.buffer.get(1..FRAME_HEADER_BYTES).and_then(|length| length.try_into().ok()) else {
            return Ok(None);
        };
        let (bytes, bytes_max) = (u32::from_be_bytes(length) as usize, frame.payload_bytes_max());
        if bytes > bytes_max {
            return Err(FrameError::TooLarge { frame, bytes, bytes_max });
        }
        Ok(Some((frame, bytes)))
    }
}
