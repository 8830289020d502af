"""Checks protocol/vectors/*.json with the second implementation: python3 check_vectors.py FOLDER

Prints one line for each file. `keyfile.json` is left out: XChaCha20-Poly1305 is not in the package `cryptography`.
"""
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

import open_envelope as liaison
from open_envelope import CHUNK_BYTES, Reader, Refused

REFUSALS = {3: "unknown-recipient", 5: "key-unavailable", 6: "bad-signature", 7: "bad-wrap", 8: "malformed",
            9: "unsupported-suite", 19: "unknown-sender"}
unhex = bytes.fromhex


def equal(found, expected, what) -> None:
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, not {expected!r}")


def verdict(function) -> str:
    try:
        function()
        return "taken"
    except Refused as refused:
        return str(refused)


def check_ids(vectors: dict) -> int:
    reader = Reader(unhex(vectors["encoding"]["bytes"]))
    values = [reader.varint(16), reader.text(), reader.option(reader.u8), reader.list(lambda: reader.varint(16), 9)]
    reader.end()
    equal(values, vectors["encoding"]["values"], "encoding")
    names = [(name, "taken") for name in vectors["names"]["valid"]]
    names += [(name, "malformed") for name in vectors["names"]["invalid"]]
    for name, expected in names:
        encoded = liaison.lp8(name.encode())  # a length below 128 is its own varint
        equal(verdict(lambda: Reader(encoded).name()), expected, name)
    for length, padded in vectors["padding"]:
        equal(max(512, liaison.padme(length + 1)), padded, f"padding of {length}")
    for case in vectors["key_id"]:
        equal(liaison.key_id(case["alg"], unhex(case["public"])).hex(), case["id"], "key id")
    message = vectors["message_id"]
    digest = liaison.message_id(unhex(message["header"]))
    equal((digest.hex(), liaison.id_text(digest)), (message["id"], message["text"]), "message id")
    prekey = vectors["prekey_id"]
    equal(liaison.prekey_hash(unhex(prekey["public"])).hex(), prekey["id"], "prekey id")
    return len(names) + len(vectors["padding"]) + len(vectors["key_id"]) + 3


def check_seal(vectors: dict) -> int:
    for case in vectors["cases"]:
        envelope = liaison.read_envelope(unhex(case["envelope"]))
        liaison.verify(envelope, unhex(case["federation"]), lambda sender: unhex(case["signing_public"]))
        header, keys = envelope.header, case["keys"]
        derived = liaison.derive_keys(header, unhex(case["content_key"]))
        equal([key.hex() for key in derived], [keys["prk"], keys["body_key"], keys["commit"]], "key schedule")
        equal((header.context().hex(), header.body_aad().hex()), (keys["ctx"], keys["body_aad"]), "contexts")
        equal(liaison.id_text(liaison.message_id(envelope.header_bytes)), case["message_id"], "message id")
        inner = liaison.open_body(header, envelope.body, unhex(case["content_key"]))
        equal(inner.hex(), case["inner"], "inner")
        for index, recipient in enumerate(case["recipients"]):
            equal(header.wrap_info(header.recipients[index]).hex(), recipient["info"], "wrap info")
            key, public = liaison.private_key(unhex(recipient["prekey_seed"]))
            equal(public.hex(), recipient["prekey_public"], "prekey")
            unwrapped = liaison.unwrap(header, header.recipients[index], unhex(recipient["wrap"]), key)
            equal(unwrapped.hex(), case["content_key"], "content key")
    return len(vectors["cases"])


def check_envelope(vectors: dict) -> int:
    keys = {entry["node"]: unhex(entry["public"]) for entry in vectors["keys"]}
    seeds = {entry["node"]: unhex(entry["prekey_seed"]) for entry in vectors["keys"]}
    federation = unhex(vectors["federation"])

    def receive(case: dict) -> None:
        liaison.verify(liaison.read_envelope(unhex(case["envelope"])), federation, keys.get)

    def opens(case: dict) -> None:
        liaison.open_envelope(unhex(case["envelope"]), federation, keys.get, case["as"], seeds[case["as"]])

    for function, cases in ((receive, vectors["received"]), (opens, vectors["opened"])):
        for case in cases:
            expected = REFUSALS[case["refused"]] if "refused" in case else "taken"
            equal(verdict(lambda: function(case)), expected, case["what"])
    return len(vectors["received"]) + len(vectors["opened"])


def check_chunk(vectors: dict) -> int:
    content = bytes(n % 251 for n in range(vectors["total_len"]))
    equal(hashlib.sha256(content).hexdigest(), vectors["sha256"], "content")
    key, count = unhex(vectors["key"]), vectors["chunk_count"]
    for case in vectors["chunks"]:
        index = case["index"]
        plain = content[index * CHUNK_BYTES:][:CHUNK_BYTES]
        equal(len(plain), case["plain_bytes"], "length")
        chunk_key = liaison.chunk_key(key, index, count)
        equal(chunk_key.hex(), case["chunk_key"], "chunk key")
        body = ChaCha20Poly1305(chunk_key).encrypt(bytes(12), plain.ljust(CHUNK_BYTES, b"\0"), None)
        equal(hashlib.sha256(body).hexdigest(), case["body_hash"], "body hash")
    header = liaison.read_header(unhex(vectors["envelope"]["header"]))
    equal((header.kind, header.commit), (2, bytes(32)), "header of a chunk")
    return len(vectors["chunks"]) + 1


def check_prekey(vectors: dict) -> int:
    """[PREKEY-1], and the bundle's bytes."""
    for case in vectors["keys"]:
        _, public = liaison.private_key(unhex(case["seed"]))
        found = (public.hex(), liaison.prekey_hash(public).hex())
        equal(found, (case["public"], case["id"]), "prekey")
    for case in vectors["refused_keys"]:
        public = unhex(case["public"])
        try:
            MLKEM768PublicKey.from_public_bytes(public[:1184])
            refused = liaison.is_low_order(public[1184:])
        except ValueError:
            refused = True
        equal(refused, True, case["what"])
    case = vectors["bundle"]
    reader = Reader(unhex(case["bundle"]))
    found = [reader.u8(), reader.take(16).hex(), reader.name(), reader.varint(32), reader.varint(64), reader.varint(64),
             reader.varint(32)]
    equal(found, [1, *(case[key] for key in ("federation", "agency", "epoch", "seq", "issued", "max_ttl_s"))], "bundle")
    keys = reader.list(lambda: {"id": reader.take(32).hex(), "not_before": reader.varint(64),
                                "not_after": reader.varint(64), "once": reader.boolean()}, 64)
    reader.end()
    equal(keys, case["keys"], "keys of the bundle")
    signed = liaison.label("prekeys") + hashlib.sha256(unhex(case["bundle"])).digest()
    equal(signed.hex(), case["signed_message"], "signed message")
    Ed25519PublicKey.from_public_bytes(unhex(case["signing_public"])).verify(unhex(case["signature"]), signed)
    return len(vectors["keys"]) + len(vectors["refused_keys"]) + 1


CHECKS = {"ids": check_ids, "seal": check_seal, "envelope": check_envelope, "chunk": check_chunk, "prekey": check_prekey}

if __name__ == "__main__":
    for name, check in CHECKS.items():
        with open(Path(sys.argv[1]) / f"{name}.json", encoding="utf-8") as file:
            print(f"{name}: {check(json.load(file))} cases")
