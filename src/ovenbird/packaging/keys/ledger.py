"""Which keys of a GnuPG home sign, which did, and which are gone: ``HOME/ovenbird-keys``.

signs 6C1F...      the oldest first
retired 99A0...
lost 04EE...
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.keys import KeyRole

AT_ONCE = 2  # keys that sign: the old one and the new one


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Which keys are for what; fingerprints, oldest first.

    Args:
        signs: Everything is signed by these.
        retired: They signed once.
        lost: They signed once, and the operator said that they are gone.
    """

    signs: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def role(self, fingerprint: str) -> KeyRole:
        """Return what a key is for."""
        if fingerprint in self.signs:
            return KeyRole.SIGNS
        return KeyRole.RETIRED if fingerprint in self.retired else KeyRole.UNUSED

    def without(self, *fingerprints: str) -> Ledger:
        """Return it without some of the keys that sign."""
        kept = tuple(one for one in self.signs if one not in fingerprints)
        return replace(self, signs=kept)

    def given_up(self, *lost: str) -> Ledger:
        """Return it with keys that are gone, which sign no more."""
        known = dict.fromkeys((*self.lost, *lost))
        return replace(self.without(*lost), lost=tuple(known))

    def with_oldest_retired(self) -> Ledger:
        """Return it without the oldest key that signs."""
        old, *new = self.signs
        known = dict.fromkeys((*self.retired, old))
        return replace(self, signs=tuple(new), retired=tuple(known))

    def refuse_third(self) -> None:
        """See that there is room for another key that signs.

        Raises:
            Conflict: Two keys sign already.
        """
        if len(self.signs) >= AT_ONCE:
            raise Conflict(
                "Two keys sign already: a rotation is under way",
                hint="`ovenbird key retire` ends it, when clients have the new key",
            )


def read_ledger(path: Path) -> Ledger | None:
    """Return the file's words, or nothing when there is none.

    Raises:
        InvalidRequest: A line is not understood.
    """
    if not path.exists():
        return None
    found: dict[str, list[str]] = {"signs": [], "retired": [], "lost": []}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        role, _, fingerprint = line.strip().partition(" ")
        if role not in found or not fingerprint.strip().isalnum():
            raise InvalidRequest(
                f"{path}:{number}: `{line}` is not understood",
                hint="Each line is `signs`, `retired` or `lost` and a fingerprint",
            )
        found[role].append(fingerprint.strip().upper())
    return Ledger(**{role: tuple(keys) for role, keys in found.items()})


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Write the file in one step."""
    roles = {"signs": ledger.signs, "retired": ledger.retired, "lost": ledger.lost}
    lines = [f"{role} {one}\n" for role, found in roles.items() for one in found]
    replace_file(path, "".join(lines).encode())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there wholly, or as it was, also after a power cut.

    An empty list of keys would mean that there is none yet, and the next publish would make one.
    """
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
