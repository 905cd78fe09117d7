"""Locks, those who wait for their turn, and what people say to releases and rollouts.

Who waits for a lock has a row of its own among the locks, ``turn of OWNER for LOCK``, which
goes when its turn comes, or with all other locks of its owner.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, select
from sqlalchemy.dialects.sqlite import insert

from ovenbird.domain.durations import spoken
from ovenbird.domain.errors import Conflict
from ovenbird.domain.releases import Lock
from ovenbird.domain.words import Words
from ovenbird.store import tables as t
from ovenbird.store.catalog_records import CatalogRecords
from ovenbird.store.database import Row

TURN = "turn of "


class LockRecords(CatalogRecords):
    """Who may change what, who is next, and who said what."""

    def lock(self, name: str, *, owner: str, reason: str, at: datetime) -> None:
        """Take a lock, or keep it when *owner* has it already.

        Raises:
            Conflict: Another owner has it.
        """
        row = {"name": name, "owner": owner, "reason": reason, "since": at}
        with self.transaction() as connection:  # one transaction: nobody lets go in between
            found = _held_by(connection, row)
        if found["owner"] != owner:
            raise held(Lock(**found), at)

    def unlock_all(self, *, owner: str) -> None:
        """Let go of every lock that *owner* has, and of its place in every queue."""
        with self.transaction() as connection:
            connection.execute(delete(t.LOCKS).where(t.LOCKS.c.owner == owner))

    def unlock(self, name: str, *, owner: str) -> None:
        """Let go of one lock, if *owner* has it, and of the place in its queue."""
        names = (name, _turn(owner, name))
        mine = t.LOCKS.c.name.in_(names) & (t.LOCKS.c.owner == owner)
        with self.transaction() as connection:
            connection.execute(delete(t.LOCKS).where(mine))

    def find_lock(self, name: str) -> Lock | None:
        """Return who holds a lock, if anyone does."""
        rows = self.rows(_holder(name))
        return Lock(**rows[0]) if rows else None

    # Turns

    def take_turn(self, name: str, *, owner: str, reason: str, at: datetime) -> bool:
        """Stand in the queue for a lock, and take it when nobody has it and nobody is before.

        Who stands there keeps the place. Tell whether the lock is had now.
        """
        row = {"name": name, "owner": owner, "reason": reason, "since": at}
        turn = {**row, "name": _turn(owner, name)}
        with self.transaction() as connection:
            # Written before anything is read: no other process comes in between.
            connection.execute(insert(t.LOCKS).values(turn).on_conflict_do_nothing())
            first = _first(connection, _queue(name))
            holder: Row | None = _first(connection, _holder(name))
            if holder is None and first is not None and first["owner"] == owner:
                holder = _held_by(connection, row)
            mine = holder is not None and holder["owner"] == owner
            if mine:
                connection.execute(delete(t.LOCKS).where(t.LOCKS.c.name == turn["name"]))
        return mine

    def list_turns(self, name: str) -> tuple[Lock, ...]:
        """Return who waits for a lock, the next one first."""
        return tuple(Lock(**row) for row in self.rows(_queue(name)))

    def queued_for(self, owner: str) -> tuple[str, ...]:
        """Return the locks for which somebody waits."""
        start = _turn(owner, "")
        mine = t.LOCKS.c.name.startswith(start, autoescape=True) & (t.LOCKS.c.owner == owner)
        return tuple(
            row["name"].removeprefix(start) for row in self.rows(select(t.LOCKS).where(mine))
        )

    # Words

    def say(self, subject: str, word: str, *, actor: str, at: datetime) -> None:
        """Keep a person's word on a release or a rollout; the first of its kind counts."""
        row = {"release_id": subject, "word": word, "actor": actor, "at": at}
        with self.transaction() as connection:
            connection.execute(insert(t.WORDS).values(row).on_conflict_do_nothing())

    def said(self, subject: str, word: str) -> str | None:
        """Return who said a word on a release or a rollout, if anyone did."""
        return self.words(subject).said.get(word)

    def words(self, subject: str) -> Words:
        """Return all that was said on a release or a rollout."""
        query = select(t.WORDS).where(t.WORDS.c.release_id == subject)
        return Words(said={str(row["word"]): str(row["actor"]) for row in self.rows(query)})


def held(lock: Lock, now: datetime) -> Conflict:
    """Return the error that a held lock gives to others.

    Args:
        lock: Who holds it.
        now: For its age.
    """
    return Conflict(
        f"{lock.reason}: `{lock.owner}` holds {lock.name} since {lock.since:%H:%M:%S} UTC"
        f" ({spoken(now - lock.since)})",
        hint=f"Follow it with `ovenbird release logs --follow {lock.owner}`, "
        f"go on with `ovenbird release resume {lock.owner}`, "
        f"end it with `ovenbird release abort {lock.owner}`, or wait for your turn with `--queue`",
        owner=lock.owner,
    )


def _held_by(connection: Connection, row: Row) -> Row:
    """Take a lock if nobody has it; return who has it then."""
    connection.execute(insert(t.LOCKS).values(row).on_conflict_do_nothing())
    return dict(connection.execute(_holder(row["name"])).mappings().one())


def _holder(name: str) -> Select[Any]:
    return select(t.LOCKS).where(t.LOCKS.c.name == name)


def _first(connection: Connection, query: Select[Any]) -> Row | None:
    found = connection.execute(query).mappings().first()
    return dict(found) if found else None


def _turn(owner: str, name: str) -> str:
    return f"{TURN}{owner} for {name}"


def _queue(name: str) -> Select[Any]:
    waiting: ColumnElement[bool] = t.LOCKS.c.name.startswith(TURN, autoescape=True)
    mine = t.LOCKS.c.name.endswith(f" for {name}", autoescape=True)
    return select(t.LOCKS).where(waiting & mine).order_by(t.LOCKS.c.since, t.LOCKS.c.owner)
