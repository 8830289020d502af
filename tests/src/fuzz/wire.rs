//! What comes from a link, before any signature is looked at: what decodes, encodes to the very same bytes.

use bytes::Bytes;
use liaison_protocol::Envelope;
use liaison_protocol::envelope::{Header, Wrap, padding};
use liaison_protocol::frame::{Decoder, Expect, FRAME_HEADER_BYTES, Frame, FrameError};
use liaison_protocol::inner::Inner;
use liaison_protocol::prekey::PrekeyPublic;
use liaison_protocol::{codec, limits};

/// The first byte says which stream, the second into what pieces it is cut.
pub(super) fn frames(input: &[u8]) {
    let [stream, cut, bytes @ ..] = input else { return };
    const STREAMS: [Expect; 5] = [Expect::Hello, Expect::Control, Expect::LaneOpen, Expect::Transfer, Expect::Acks];
    let expect = STREAMS[usize::from(*stream) % STREAMS.len()];
    let whole = decode_all(expect, bytes, bytes.len().max(1));
    let pieces = decode_all(expect, bytes, usize::from(*cut).max(1));
    assert_eq!(whole, pieces, "where a stream is cut makes no difference");
    let (frames, rest) = whole;
    let encoded = frames.iter().flat_map(|frame| frame.encode().expect("what was decoded can be encoded"));
    let encoded: Vec<u8> = encoded.collect();
    assert_eq!(encoded.as_slice(), &bytes[..encoded.len()], "a frame has one form");
    if let Ok(left) = rest {
        assert_eq!(encoded.len() + left, bytes.len(), "nothing is dropped");
    }
}

/// Every frame, then either the bytes of one that has only begun, or what closes the link.
fn decode_all(expect: Expect, bytes: &[u8], piece: usize) -> (Vec<Frame>, Result<usize, FrameError>) {
    let (mut decoder, mut frames) = (Decoder::new(expect), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    let _ = (error.close_code(), error.to_string());
                    return (frames, Err(error));
                }
            }
        }
        assert_eq!(decoder.is_mid_frame(), decoder.buffered_bytes() > 0);
    }
    (frames, Ok(decoder.buffered_bytes()))
}

/// As [`frames`], with the header made right: type and payload are the input.
pub(super) fn payloads(input: &[u8]) {
    let [stream, kind, payload @ ..] = input else { return };
    let length = u32::try_from(payload.len()).expect("a short input").to_be_bytes();
    let mut bytes = Vec::with_capacity(2 + FRAME_HEADER_BYTES + payload.len());
    bytes.extend([*stream, 255, *kind]);
    bytes.extend(length);
    bytes.extend(payload);
    frames(&bytes);
}

pub(super) fn envelope(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    assert_eq!(envelope.encode(), bytes, "an envelope has one form");
    assert_eq!(envelope.encoded_len(), bytes.len());
    header(&envelope.header);
    let all: Vec<u16> = envelope.wraps.iter().map(|wrap| wrap.index).collect();
    assert_eq!(envelope.prune(&all), envelope);
    let none = envelope.prune(&[]);
    assert_eq!(none.id(), envelope.id(), "the id is the header's");
    assert_eq!(Envelope::decode(&none.encode()), Ok(none));
}

pub(super) fn header(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else { return };
    assert_eq!(header.encode(), bytes, "a header has one form");
    assert!((1..=limits::RECIPIENTS_MAX).contains(&header.recipients.len()));
    for (index, recipient) in header.recipients.iter().enumerate() {
        assert_eq!(header.recipient_index(&recipient.id).map(usize::from), Some(index));
    }
}

pub(super) fn wrap(bytes: &[u8]) {
    let [index, bytes @ ..] = bytes else { return };
    if let Ok(wrap) = Wrap::new(u16::from(*index), Bytes::copy_from_slice(bytes)) {
        assert_eq!((wrap.bytes().as_ref(), bytes.len()), (bytes, limits::WRAP_BYTES));
    }
}

pub(super) fn prekey(bytes: &[u8]) {
    let Ok(key) = PrekeyPublic::from_bytes(bytes) else { return };
    assert_eq!(key.as_bytes().as_slice(), bytes);
}

/// The plaintext of a body, as whoever may seal to us can make it.
pub(super) fn inner(bytes: &[u8]) {
    let padded = padding::pad(bytes);
    if let Some(padded) = &padded {
        assert_eq!(padding::unpad(padded), Some(bytes), "padding comes off as it went on");
    }
    if let Some(message) = padding::unpad(bytes) {
        let again = padding::pad(message).map(|padded| padded.to_vec());
        assert_eq!(again.as_deref(), Some(bytes), "padding has one form");
    }
    let Ok(inner) = codec::decode::<Inner>("message", bytes, limits::BODY_PLAIN_BYTES_MAX) else { return };
    assert_eq!(codec::encode(&inner), bytes, "content has one form");
    let _ = inner.content.check(&inner.recipients);
}
