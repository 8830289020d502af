"""Verifies Liaison rosters and receipts (SPEC.md, sections 6, 12 and 13), written from the specification alone.

    python3 verify_receipts.py CASES.json       prints one JSON object for each case, in order

A case is {"roster": DSSE text, "roots": [base64], "threshold"} and may have {"receipt": hex, "proven": hex}, where `proven` is a
leaf and its proof. The result is {"roster": {…}, "receipt": {…}, "leaf": {…}}, or {"refused": which of them}.
"""
import base64
import binascii
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from open_envelope import Reader, Refused, ascending, key_id, label, lp8, require

ROSTER_TYPE = "application/vnd.liaison.roster.v1+json"
MLDSA_PUBLIC, MLDSA_SIGNATURE = 1952, 3309
COMPOSITE_LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
KINDS = {1: "custody", 2: "delivery", 3: "read", 4: "refusal", 5: "restored"}


# ---- section 6 ----------------------------------------------------------------------------------------------------

def composite_holds(public: bytes, context: bytes, message: bytes, signature: bytes) -> bool:
    """[SIG-5]: both halves."""
    signed = b"CompositeAlgorithmSignatures2025" + COMPOSITE_LABEL + lp8(context) + hashlib.sha512(message).digest()
    try:
        lattice = MLDSA65PublicKey.from_public_bytes(public[:MLDSA_PUBLIC])
        lattice.verify(signature[:MLDSA_SIGNATURE], signed, COMPOSITE_LABEL)
        Ed25519PublicKey.from_public_bytes(public[MLDSA_PUBLIC:]).verify(signature[MLDSA_SIGNATURE:], signed)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- section 12 ---------------------------------------------------------------------------------------------------

def strict_json(text) -> dict:
    """[ROSTER-4], as far as a library lets us."""
    def no_duplicates(pairs):
        require(len({key for key, _ in pairs}) == len(pairs), "roster")
        return dict(pairs)

    def refuse(_):
        raise Refused("roster")
    return json.loads(text, object_pairs_hook=no_duplicates, parse_float=refuse, parse_constant=refuse)


def signers(roots: list, envelope: dict, payload: bytes) -> int:
    """[ROSTER-2]: how many distinct roots signed."""
    pae = f"DSSEv1 {len(ROSTER_TYPE)} {ROSTER_TYPE} {len(payload)} ".encode() + payload
    by_id = {key_id(2, root).hex(): root for root in roots}
    context = label("roster")[:-1]
    return len({
        entry["keyid"] for entry in envelope["signatures"]
        if entry["keyid"] in by_id
        and composite_holds(by_id[entry["keyid"]], context, pae, base64.b64decode(entry["sig"], validate=True))
    })


def verify_roster(text: str, roots: list, threshold: int) -> tuple:
    """(payload, its hash); [ROSTER-1], [ROSTER-3], [ROSTER-8]"""
    envelope = strict_json(text)
    require(envelope["payloadType"] == ROSTER_TYPE, "roster")
    payload = base64.b64decode(envelope["payload"], validate=True)
    require(signers(roots, envelope, payload) >= threshold, "roster")
    roster = strict_json(payload)
    own = [base64.b64decode(key, validate=True) for key in roster["roots"]["keys"]]
    require(signers(own, envelope, payload) >= roster["roots"]["threshold"], "roster")
    if roster["version"] == 1:
        federation = hashlib.sha256(label("federation") + lp8(roster["name"].encode()) + b"".join(own)).digest()[:16]
        require(roster["federation"] == federation.hex() and roster["prev"] == "00" * 32, "roster")
    return roster, hashlib.sha256(payload).digest()


def signing_key(roster: dict, node: str, wanted: bytes, at: int):
    """The role of `node` and the key with which it signed at that time."""
    for relay in roster["relays"]:
        if relay["id"] == node:
            key = bytes.fromhex(relay["sign_key"])
            return "relay", key if key_id(1, key) == wanted and at <= relay["not_after"] else None
    for agency in roster["agencies"]:
        if agency["id"] == node:
            for entry in agency["sign_keys"]:
                key = bytes.fromhex(entry["pub"])
                if key_id(1, key) == wanted and entry["not_before"] <= at <= entry["not_after"]:
                    return "agency", key
    return None, None


# ---- section 13 ---------------------------------------------------------------------------------------------------

def read_receipt(data: bytes) -> tuple:
    """(body's bytes, body, signature)"""
    outer = Reader(data)
    body, algorithm, signature = outer.blob(1024), outer.u8(), outer.blob(3373)
    outer.end()
    require(algorithm == 1 and len(signature) == 64)
    reader = Reader(body)
    require(reader.u8() == 1)
    kind = KINDS.get(reader.u8())
    fields = {
        "kind": kind, "federation": reader.take(16).hex(), "issuer": reader.name(), "key": reader.take(8),
        "roster_version": reader.varint(32), "time": reader.varint(64), "seq": reader.varint(64),
        "prev": reader.take(32).hex(),
    }
    if kind in ("custody", "delivery"):
        fields |= {"root": reader.take(32), "size": reader.varint(32)}
    elif kind == "read":
        fields |= {"id": reader.take(32).hex(), "recipient": reader.name(), "delivery": reader.take(32).hex()}
    elif kind == "refusal":
        fields |= {"id": reader.take(32).hex(), "recipient": reader.name(), "reason": reader.varint(16),
                   "detail": reader.text(256), "retry_after_ms": reader.varint(32)}
        require(1 <= fields["reason"] <= 20)
    else:
        require(kind == "restored")
        fields |= {"resumed_after": reader.varint(64)}
    reader.end()
    return body, fields, signature


def read_leaf(kind: str, reader: Reader) -> dict:
    leaf = {"id": reader.take(32).hex()}
    if kind == "custody":
        leaf |= {"received_from": reader.name(), "time": reader.varint(64)}
        leaf["indices"] = reader.list(lambda: reader.varint(16), 1024)
        require(bool(leaf["indices"]) and ascending(leaf["indices"]))
    else:
        leaf |= {"recipient": reader.name(), "time": reader.varint(64), "opened": reader.boolean()}
    return leaf


def leaf_hash(kind: str, leaf: dict) -> bytes:
    head = b"\0" + label(f"{kind}-leaf") + bytes.fromhex(leaf["id"])
    time = leaf["time"].to_bytes(8)
    if kind == "custody":
        indices = b"".join(index.to_bytes(2) for index in leaf["indices"])
        tail = lp8(leaf["received_from"].encode()) + time + hashlib.sha256(indices).digest()
    else:
        tail = lp8(leaf["recipient"].encode()) + time + bytes([leaf["opened"]])
    return hashlib.sha256(head + tail).digest()


def root_of(leaf: bytes, index: int, size: int, path: list) -> bytes:
    """RFC 9162, section 2.1.3.2, with no hash left over."""
    require(index < size)
    last, path = size - 1, list(path)
    while last > 0:
        if index % 2 == 1 or index < last:
            require(bool(path))
            sibling = path.pop(0)
            leaf = hashlib.sha256(b"\1" + (sibling + leaf if index % 2 else leaf + sibling)).digest()
        index, last = index // 2, last // 2
    require(not path)
    return leaf


def verify_receipt(roster: dict, data: bytes, proven) -> tuple:
    """[RCPT-2]"""
    body, receipt, signature = read_receipt(data)
    require(receipt["federation"] == roster["federation"])
    role, key = signing_key(roster, receipt["issuer"], receipt.pop("key"), receipt["time"])
    require(key is not None)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, label("receipt-sig") + hashlib.sha256(body).digest())
    except InvalidSignature:
        raise Refused("receipt") from None
    kind, leaf = receipt["kind"], None
    if kind in ("custody", "delivery"):
        reader = Reader(proven)
        leaf = read_leaf(kind, reader)
        index, path = reader.varint(32), reader.list(lambda: reader.take(32), 20)
        reader.end()
        root = root_of(leaf_hash(kind, leaf), index, receipt.pop("size"), path)
        require(root == receipt.pop("root") and leaf["time"] <= receipt["time"])
    recipient = leaf["recipient"] if kind == "delivery" else receipt.get("recipient")
    by_recipient = role == "agency" and receipt["issuer"] == recipient
    allowed = {"custody": role == "relay", "delivery": by_recipient, "read": by_recipient,
               "refusal": role == "relay" or by_recipient, "restored": True}
    require(allowed[kind])
    return receipt, leaf


def run(case: dict) -> dict:
    try:
        roots = [base64.b64decode(root) for root in case["roots"]]
        roster, digest = verify_roster(case["roster"], roots, case["threshold"])
    except (Refused, KeyError, ValueError, binascii.Error):
        return {"refused": "roster"}
    result = {"roster": {"version": roster["version"], "hash": digest.hex(), "federation": roster["federation"]}}
    if "receipt" in case:
        try:
            receipt, leaf = verify_receipt(roster, bytes.fromhex(case["receipt"]), bytes.fromhex(case["proven"]))
        except Refused:
            return {"refused": "receipt"}
        result |= {"receipt": receipt, "leaf": leaf}
    return result


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as cases:
        for case in json.load(cases):
            print(json.dumps(run(case)))
