"""Statements in signed envelopes, as DSSE has them, with OpenPGP signatures of our keys.

    {"payload": BASE64, "payloadType": "application/vnd.in-toto+json",
     "signatures": [{"keyid": FINGERPRINT, "sig": BASE64 OF AN ARMOURED SIGNATURE}, ...]}

While keys change, there are two signatures in one: each entry has both, under a key of its
own. By hand: ``gpg --verify SIG DATA``, where DATA is what :func:`.provenance.signed_bytes`
returns.

Source: DSSE, "envelope" and "protocol"; in-toto, "Envelope" v1; gpgv(1), `--status-fd`.
"""

from __future__ import annotations

import base64
import json
import tempfile
from itertools import pairwise
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.ports import Signer
from ovenbird.domain.provenance import PAYLOAD, Signed, signed_bytes
from ovenbird.system.commands import run

TIMEOUT_S = 60.0
UNKNOWN_KEY = 2  # gpgv's status when one of several signatures is of a key that it has not
_KINDS = ("GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG")  # Source: GnuPG, doc/DETAILS


def sealed(statement: bytes, signer: Signer) -> bytes:
    """Return a statement in its envelope, signed now.

    Raises:
        InvalidRequest, NotFound: The key cannot sign.
    """
    with signer.session():
        signature = signer.detach_sign(signed_bytes(statement))
        fingerprints = signer.fingerprints()
    coded = base64.b64encode(signature).decode()
    document = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": PAYLOAD,
        "signatures": [{"keyid": one, "sig": coded} for one in fingerprints],
    }
    return json.dumps(document, sort_keys=True).encode()


def opened(envelope: bytes, *, public_keys: bytes) -> Signed:
    """Return what is in an envelope, when one of some keys has signed it.

    Args:
        envelope: As :func:`sealed` makes it.
        public_keys: That count, in binary.

    Raises:
        InvalidRequest: It is no envelope, was changed, or is signed by others only.
    """
    statement, signatures = _parts(envelope)
    fingerprints: dict[str, None] = {}
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as folder:
        ring, data, file = (Path(folder, name) for name in ("known.gpg", "data", "signature"))
        ring.write_bytes(public_keys)
        data.write_bytes(signed_bytes(statement))
        for signature in signatures:
            file.write_bytes(signature)
            words = ["gpgv", "--homedir", folder, "--keyring", str(ring), "--status-fd", "1"]
            said = run([*words, file, data], timeout_s=TIMEOUT_S, ok=frozenset({0, 1, UNKNOWN_KEY}))
            fingerprints |= dict.fromkeys(_signers(said))
    if not fingerprints:
        raise InvalidRequest(
            "The statement is signed by no key that is known here",
            hint="Bring the home of the key back that signed it: `repository.signing_key`",
        )
    return Signed(statement=statement, fingerprints=tuple(fingerprints))


def _parts(envelope: bytes) -> tuple[bytes, list[bytes]]:
    try:
        document = json.loads(envelope)
        kind, payload = document["payloadType"], document["payload"]
        signatures = {one["sig"]: None for one in document["signatures"]}
        decoded = [base64.b64decode(one, validate=True) for one in signatures]
        statement = base64.b64decode(payload, validate=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"The envelope of a statement is damaged: {error}") from error
    if kind != PAYLOAD:
        raise InvalidRequest(f"The envelope holds `{kind}`, and no statement")
    return statement, decoded


def _signers(said: str) -> list[str]:
    """Return the primary keys of the good signatures that gpgv saw; of revoked keys none is.

    Raises:
        InvalidRequest: One signature is bad.
    """
    lines = [line.split() for line in said.splitlines() if line.startswith("[GNUPG:] ")]
    if any(line[1] == "BADSIG" for line in lines):
        raise InvalidRequest("The statement was changed after it was signed")
    # Each signature has a line of its kind, then one that says whose it is.
    kinds = [line for line in lines if line[1] in {*_KINDS, "VALIDSIG"}]
    pairs = pairwise(kinds)
    return [line[-1] for kind, line in pairs if line[1] == "VALIDSIG" and kind[1] != "REVKEYSIG"]
