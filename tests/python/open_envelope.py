"""Opens Liaison envelopes: a second implementation, written from protocol/SPEC.md alone.

    python3 open_envelope.py CASES.json         prints one JSON object for each case, in order

A case is {"envelope", "federation", "sender_public", "recipient", "prekey_seed"} (bytes in hex); its result is {"id", "inner"}
or {"refused": word of section 17}. Or a case is {"chunk", "key", "index", "count"}, with the result {"sha256"}.
Needs `cryptography` 50 or newer, for HPKE with X-Wing. Reads what we seal; it is not hardened against timing.
"""
import hashlib
import hmac
import json
import sys
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

HEADER_BYTES_MAX = 262_144
BODY_PLAIN_MIN, BODY_PLAIN_MAX, TAG = 512, 1_048_576, 16
CHUNK_BYTES = 262_144
LIFETIME_MAX_MS = 30 * 86_400_000
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
NAME_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.-")


class Refused(Exception):
    """Carries a word of SPEC.md, section 17."""


def require(holds: bool, word: str = "malformed") -> None:
    if not holds:
        raise Refused(word)


def label(text: str) -> bytes:
    return b"liaison/1 " + text.encode() + b"\0"


def lp8(data: bytes) -> bytes:
    return bytes([len(data)]) + data


# ---- section 2: encoding ------------------------------------------------------------------------------------------

class Reader:
    """Takes fields from the front. Whatever is not the shortest form is refused ([ENC-1])."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        require(count <= len(self.data) - self.at)
        self.at += count
        return self.data[self.at - count:self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def varint(self, bits: int) -> int:
        value = 0
        for shift in range(0, bits + 6, 7):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                require((byte != 0 or shift == 0) and value < 1 << bits)
                return value
        raise Refused("malformed")

    def boolean(self) -> bool:
        byte = self.u8()
        require(byte <= 1)
        return byte == 1

    def blob(self, bytes_max: int) -> bytes:
        length = self.varint(32)
        require(length <= bytes_max)
        return self.take(length)

    def text(self, bytes_max: int = BODY_PLAIN_MAX) -> str:
        try:
            return self.blob(bytes_max).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("malformed") from None

    def name(self) -> str:
        """[NAME-1]"""
        text = self.text(63)
        labels = text.split(".")
        require(len(text) >= 3 and set(text.encode()) <= NAME_BYTES)
        require(all(part and part[0] != "-" and part[-1] != "-" for part in labels))
        return text

    def list(self, element, count_max: int) -> list:
        count = self.varint(32)
        require(count <= count_max)
        return [element() for _ in range(count)]

    def option(self, element):
        return element() if self.boolean() else None

    def enum(self, *variants):
        number = self.varint(32)
        require(number < len(variants))
        return variants[number]

    def end(self) -> None:
        """[ENC-2]"""
        require(self.at == len(self.data))


def message_id(header: bytes) -> bytes:
    return hashlib.sha256(label("envelope-id") + header).digest()


def key_id(algorithm: int, public: bytes) -> bytes:
    return hashlib.sha256(label("key") + bytes([algorithm]) + public).digest()[:8]


def id_text(digest: bytes) -> str:
    number = int.from_bytes(digest) << 4
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(255, -1, -5))


# ---- section 7: envelope ------------------------------------------------------------------------------------------

@dataclass
class Recipient:
    id: str
    prekey_id: bytes
    wrap_hash: bytes


@dataclass
class Header:
    suite: int
    federation: bytes
    sender: str
    sender_key: bytes
    created: int
    expires: int
    precedence: int
    kind: int
    nonce: bytes
    recipients: list
    commit: bytes
    body_hash: bytes
    body_len: int

    def context(self) -> bytes:
        return self.suite.to_bytes(2) + self.federation + lp8(self.sender.encode())

    def body_aad(self) -> bytes:
        names = b"".join(lp8(recipient.id.encode()) for recipient in self.recipients)
        return label("body") + self.context() + self.nonce + hashlib.sha256(names).digest()

    def wrap_info(self, recipient: Recipient) -> bytes:
        return label("wrap") + self.context() + lp8(recipient.id.encode()) + recipient.prekey_id + self.nonce


def ascending(values: list) -> bool:
    return all(a < b for a, b in zip(values, values[1:]))


def read_header(data: bytes) -> Header:
    reader = Reader(data)
    version, suite = reader.u8(), reader.varint(16)
    require((version, suite) == (1, 1), "unsupported-suite")  # [HDR-1]
    require(len(data) <= HEADER_BYTES_MAX)
    header = Header(
        suite, reader.take(16), reader.name(), reader.take(8), reader.varint(64), reader.varint(64), reader.u8(),
        reader.u8(), reader.take(32),
        reader.list(lambda: Recipient(reader.name(), reader.take(16), reader.take(32)), 1024),
        reader.take(32), reader.take(32), reader.varint(32),
    )
    extensions = reader.list(lambda: (reader.varint(16), reader.boolean(), reader.blob(4096)), 16)
    reader.end()
    require(header.precedence <= 3 and header.kind in (1, 2))
    require(header.created <= header.expires <= header.created + LIFETIME_MAX_MS)  # [HDR-4]
    ids = [recipient.id.encode() for recipient in header.recipients]
    require(bool(ids) and ascending(ids))  # [HDR-2]
    require(ascending([kind for kind, _, _ in extensions]))  # [HDR-3]
    if header.kind == 2:  # [HDR-5]
        require(header.commit == bytes(32) and header.body_len == CHUNK_BYTES + TAG)
        require(all(r.prekey_id == bytes(16) and r.wrap_hash == bytes(32) for r in header.recipients))
    else:  # [HDR-6]
        plain = header.body_len - TAG
        require(BODY_PLAIN_MIN <= plain <= BODY_PLAIN_MAX and padme(plain) == plain)
    require(not any(critical for _, critical, _ in extensions), "unsupported-suite")
    return header


@dataclass
class Envelope:
    header_bytes: bytes
    header: Header
    algorithm: int
    signature: bytes
    wraps: list
    body: bytes


def read_envelope(data: bytes) -> Envelope:
    reader = Reader(data)
    header_bytes = reader.blob(HEADER_BYTES_MAX)
    algorithm, signature = reader.u8(), reader.blob(3373)
    require((algorithm, len(signature)) in ((1, 64), (2, 3373)))  # [SIG-4]
    wraps = reader.list(lambda: (reader.varint(16), reader.take(1168)), 1024)
    body = reader.blob(BODY_PLAIN_MAX + TAG)
    reader.end()
    return Envelope(header_bytes, read_header(header_bytes), algorithm, signature, wraps, body)


def verify(envelope: Envelope, federation: bytes, key_of) -> None:
    """[ENV-1] to [ENV-3], in the order of section 7. `key_of(sender)` stands in for the roster."""
    header = envelope.header
    require(header.federation == federation, "unknown-sender")
    require(len(envelope.body) == header.body_len, "bad-signature")
    indices = [index for index, _ in envelope.wraps]
    require(ascending(indices) and all(index < len(header.recipients) for index in indices))
    require(header.kind == 1 or not indices)
    public = key_of(header.sender)
    require(public is not None and header.sender_key == key_id(1, public), "unknown-sender")
    signed = label("envelope-sig") + message_id(envelope.header_bytes)
    try:
        require(envelope.algorithm == 1, "bad-signature")
        Ed25519PublicKey.from_public_bytes(public).verify(envelope.signature, signed)
    except InvalidSignature:
        raise Refused("bad-signature") from None
    for index, wrap in envelope.wraps:
        require(hashlib.sha256(wrap).digest() == header.recipients[index].wrap_hash, "bad-wrap")
    require(hashlib.sha256(envelope.body).digest() == header.body_hash, "bad-signature")


# ---- section 8: sealing -------------------------------------------------------------------------------------------

def hkdf_expand(prk: bytes, info: bytes) -> bytes:
    """RFC 5869, 32 bytes: the first block."""
    return hmac.digest(prk, info + b"\x01", "sha256")


def padme(length: int) -> int:
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def unpad(padded: bytes) -> bytes:
    """[PAD-1]"""
    marked = padded.rstrip(b"\0")
    require(marked.endswith(b"\x80"), "bad-wrap")
    require(max(BODY_PLAIN_MIN, padme(len(marked))) == len(padded), "bad-wrap")
    return marked[:-1]


def private_key(seed: bytes):
    """Section 11: the seed of X-Wing, expanded by SHAKE256 to ML-KEM's 64 bytes and X25519's 32."""
    expanded = hashlib.shake_256(seed).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(mlkem, x25519), public


def prekey_hash(public: bytes) -> bytes:
    return hashlib.sha256(label("prekey") + public).digest()


def is_low_order(share: bytes) -> bool:
    """[SEAL-3]: the shared secret of any scalar is zero, which OpenSSL refuses to return."""
    try:
        X25519PrivateKey.from_private_bytes(b"\x42" * 32).exchange(X25519PublicKey.from_public_bytes(share))
    except ValueError:
        return True
    return False


def unwrap(header: Header, recipient: Recipient, wrap: bytes, key) -> bytes:
    require(not is_low_order(wrap[1088:1120]), "bad-wrap")
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    try:
        return suite.decrypt(wrap, key, header.wrap_info(recipient))
    except (InvalidTag, ValueError):
        raise Refused("bad-wrap") from None


def derive_keys(header: Header, content_key: bytes) -> tuple:
    """(PRK, body_key, commit)"""
    prk = hmac.digest(header.nonce, content_key, "sha256")
    context = header.context()
    return prk, hkdf_expand(prk, label("body-key") + context), hkdf_expand(prk, label("commit") + context)


def open_body(header: Header, body: bytes, content_key: bytes) -> bytes:
    _, body_key, commit = derive_keys(header, content_key)
    require(hmac.compare_digest(commit, header.commit), "bad-wrap")  # [SEAL-2]
    try:
        return unpad(ChaCha20Poly1305(body_key).decrypt(bytes(12), body, header.body_aad()))
    except InvalidTag:
        raise Refused("bad-wrap") from None


def chunk_key(key: bytes, index: int, count: int) -> bytes:
    """Section 10."""
    return hkdf_expand(key, label("chunk") + index.to_bytes(8) + count.to_bytes(8))


def open_chunk(body: bytes, key: bytes, index: int, count: int) -> bytes:
    try:
        return ChaCha20Poly1305(chunk_key(key, index, count)).decrypt(bytes(12), body, None)
    except InvalidTag:
        raise Refused("bad-wrap") from None


# ---- section 9: inner content -------------------------------------------------------------------------------------

def read_inner(data: bytes) -> dict:
    reader = Reader(data)
    require(reader.u8() == 1)
    inner = {
        "sender": reader.name(), "recipients": reader.list(reader.name, 1024), "created": reader.varint(64),
        "content": reader.enum(read_message, read_receipts, read_notice)(reader),
    }
    reader.end()
    if "message" in inner["content"]:
        check_message(inner["content"]["message"], inner["recipients"])
    return inner


def read_message(reader: Reader) -> dict:
    digest = lambda: reader.take(32).hex()
    return {"message": {
        "thread": reader.option(digest), "in_reply_to": reader.option(digest),
        "chain": reader.option(lambda: {"first": digest(), "previous": digest(), "sent": reader.varint(64)}),
        "info": reader.list(reader.name, 1024), "subject": reader.text(1024),
        "tlp": reader.enum("clear", "green", "amber", "amber+strict", "red"),
        "handling": reader.list(reader.text, 32), "content_type": reader.enum("text", "stix", "misp", "umf"),
        "text": reader.text(), "attachments": reader.list(lambda: read_attachment(reader), 256),
    }}


def read_attachment(reader: Reader) -> dict:
    return {
        "name": reader.text(255), "total_len": reader.varint(64), "chunk_count": reader.varint(32),
        "key": reader.take(32).hex(), "chunk_hashes": reader.list(lambda: reader.take(32).hex(), 24_576),
        "sha256": reader.take(32).hex(),
    }


def check_message(message: dict, recipients: list) -> None:
    """[INNER-2]"""
    info, attachments = message["info"], message["attachments"]
    require(ascending([name.encode() for name in info]) and set(info) <= set(recipients))
    require(all(1 <= len(code.encode()) <= 64 for code in message["handling"]))
    require(sum(attachment["chunk_count"] for attachment in attachments) <= 24_576)
    for attachment in attachments:
        count = -(-attachment["total_len"] // CHUNK_BYTES)
        require(attachment["name"] != "" and attachment["chunk_count"] == len(attachment["chunk_hashes"]) == count)


def read_statement(reader: Reader) -> dict:
    blob = lambda: reader.blob(BODY_PLAIN_MAX).hex()
    return {"receipt": blob(), "proofs": reader.list(blob, 1024)}


def read_receipts(reader: Reader) -> dict:
    statements = reader.list(lambda: read_statement(reader), 1024)
    require(bool(statements))
    return {"receipts": statements}


def read_notice(reader: Reader) -> dict:
    return {"notice": read_statement(reader)}


def open_envelope(data: bytes, federation: bytes, key_of, recipient: str, seed: bytes) -> dict:
    envelope = read_envelope(data)
    verify(envelope, federation, key_of)
    header = envelope.header
    require(header.kind == 1)
    index = next((i for i, r in enumerate(header.recipients) if r.id == recipient), None)
    require(index is not None, "unknown-recipient")
    key, public = private_key(seed)
    require(header.recipients[index].prekey_id == prekey_hash(public)[:16], "key-unavailable")
    wrap = dict(envelope.wraps).get(index)
    require(wrap is not None, "bad-wrap")
    content_key = unwrap(header, header.recipients[index], wrap, key)
    inner = read_inner(open_body(header, envelope.body, content_key))
    ids = [r.id for r in header.recipients]
    require((inner["sender"], inner["recipients"], inner["created"]) == (header.sender, ids, header.created))  # [INNER-1]
    return {"id": id_text(message_id(envelope.header_bytes)), "inner": inner}


def run(case: dict) -> dict:
    try:
        if "chunk" in case:
            chunk = open_chunk(bytes.fromhex(case["chunk"]), bytes.fromhex(case["key"]), case["index"], case["count"])
            return {"sha256": hashlib.sha256(chunk).hexdigest()}
        public = bytes.fromhex(case["sender_public"])
        return open_envelope(
            bytes.fromhex(case["envelope"]), bytes.fromhex(case["federation"]), lambda sender: public,
            case["recipient"], bytes.fromhex(case["prekey_seed"]),
        )
    except Refused as refused:
        return {"refused": str(refused)}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as cases:
        for case in json.load(cases):
            print(json.dumps(run(case)))
