"""Questions about the keys that sign packages and repositories, and their changes.

    plan_* ─▶ KeyChange ─▶ a person confirms ─▶ carry_out

Nothing that was signed is signed again: a change counts from the next publish on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.errors import Conflict
from ovenbird.domain.keys import Key, KeyRole
from ovenbird.operations.opening import Installation
from ovenbird.packaging.keys.ledger import AT_ONCE, Ledger
from ovenbird.packaging.keys.signing import PUBLIC, SigningKey

PUBLISH = (
    "publish to each channel, or `ovenbird repository rebuild`, before `ovenbird key retire`,"
    " and give clients the public keys"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """All keys of the repository.

    Args:
        home: GnuPG's home directory.
        public_keys: The file with what clients accept; it may not be there yet.
        keys: Oldest first; none before the first publish.
    """

    home: Path
    public_keys: Path
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """A change that has not been confirmed yet.

    Args:
        words: What would be done, one sentence each.
        act: Does it, and returns the fingerprint of the key that it is about.
    """

    words: tuple[str, ...]
    act: Callable[[], str]


def get_keys(installation: Installation) -> KeyView:
    """Return the keys; none is made.

    Raises:
        InvalidRequest: It is not clear which of them signs.
    """
    key = _signing_key(installation)
    return KeyView(home=key.home, public_keys=key.home / PUBLIC, keys=key.list_keys())


def export_keys(installation: Installation, *, armor: bool) -> bytes:
    """Return the public keys that clients accept; the first key is made when there is none.

    Raises:
        InvalidRequest: A key has expired or was revoked.
        NotFound: The secret half of a key that signs is gone.
    """
    return _signing_key(installation).export(armor=armor)


def plan_rotate(installation: Installation, *, lost: Sequence[str] = ()) -> KeyChange:
    """Plan a new key beside the one that signs.

    Args:
        installation: Whose keys.
        lost: Fingerprints of keys that are gone for good.

    Raises:
        Conflict: Two keys sign already.
        InvalidRequest: It is not clear which key signs.
    """
    key, names = _signing_key(installation), tuple(one.upper() for one in lost)
    signs = tuple(one for one in _signing(key) if one not in names)
    Ledger(signs=signs).refuse_third()
    words = [f"Give up `{one}`: what it signed is no longer trusted by it" for one in names]
    words.append(f"Make a new signing key in `{key.home}`")
    words += [f"Sign with `{one}` and the new key from the next publish on" for one in signs]
    if signs:
        words.append(f"Then {PUBLISH}")
    return KeyChange(words=tuple(words), act=lambda: key.rotate(lost=names))


def plan_retire(installation: Installation) -> KeyChange:
    """Plan to let the older of two keys sign no more.

    Raises:
        Conflict: There is no second key.
        InvalidRequest: It is not clear which keys sign.
    """
    key = _signing_key(installation)
    signs = _signing(key)
    if len(signs) < AT_ONCE:
        raise Conflict(
            "There is no second key that could go on alone",
            hint="`ovenbird key rotate` makes one; retire the old key when clients have it",
        )
    words = (
        f"Sign with `{signs[1]}` alone from the next publish on",
        f"Drop `{signs[0]}` from `{key.home / PUBLIC}`: clients that have no other key stay behind",
    )
    return KeyChange(words=words, act=key.retire)


def plan_import(
    installation: Installation, path: Path, *, passphrase_file: Path | None = None
) -> KeyChange:
    """Plan to let a key from a file sign; it is tried now, in a home that is thrown away.

    Raises:
        NotFound: There is no such file.
        InvalidRequest: It has no secret key, or several, or one that cannot sign.
        Conflict: Two keys sign already.
    """
    key = _signing_key(installation)
    fingerprint = key.try_file(path, passphrase_file=passphrase_file)
    others = [one for one in _signing(key) if one != fingerprint]
    words = [f"Take the key `{fingerprint}` into `{key.home}`"]
    words += [f"Sign with `{one}` and the new key from the next publish on" for one in others]
    words.append(f"Then {PUBLISH}" if others else "Sign with it from the next publish on")
    return KeyChange(
        words=tuple(words), act=lambda: key.import_file(path, passphrase_file=passphrase_file)
    )


def _signing_key(installation: Installation) -> SigningKey:
    return SigningKey(installation.settings.repository.signing_key)


def _signing(key: SigningKey) -> tuple[str, ...]:
    return tuple(one.fingerprint for one in key.list_keys() if one.role is KeyRole.SIGNS)
