"""Bakes by builders that are no machines; a program, too, in which each one is killed in turn.

    python -m tests.sandbox.builder_bakes URL CREDENTIALS DIRECTORY IMAGE

For each call that changes something in EC2, and around the evidence: a bake in a process that is
killed as soon as that call is answered, then the same bake once more. Prints one JSON object for
each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from ovenbird.aws.builder_resources import TEMPORARY_TAG, BuilderSpec
from ovenbird.aws.builders import Builders
from ovenbird.aws.clients import Account
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.images import (
    BAKE_KEY_TAG,
    DISK_TAG,
    PROVENANCE_TAG,
    Baked,
    BakeRequest,
    BakeStrategy,
    ImageId,
    PackagePin,
)
from ovenbird.domain.provenance import Evidence
from ovenbird.domain.recipes import RecipeStep, Shell
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen
from ovenbird.system.clock import SystemClock
from ovenbird.system.recipes.logs import BakeLog
from ovenbird.system.rooms import ssh
from tests.evidence import Shelf
from tests.sandbox.fleet import default_subnets
from tests.sandbox.tiny_bakes import TinyWorkshop

READ, KEPT = "evidence read", "evidence kept"  # no calls of EC2
APP = "built"  # nobody else in the shared sandbox has images of it
CALLS = (
    "ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "RunInstances",
    "StopInstances", "CreateImage", "ModifyImageAttribute", READ, KEPT, "CreateTags",
    "CreateTags 2", "DeleteTags", "TerminateInstances", "DeleteSecurityGroup", "DeleteKeyPair",
)  # fmt: skip
"""All calls of a bake by a builder that change something, in order."""
STATE = RepositoryState(
    repository="main", channel="candidate", number=1, url="file:/r",
    suite="candidate-1", component="main", key_path="/k",
)  # fmt: skip


class Clock:
    """A clock that does not wait long."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return datetime.now(tz=UTC) + self.ahead  # noqa: TID251 - a test's clock

    def sleep(self, seconds: float) -> None:
        SystemClock().sleep(min(seconds, 0.01))


class Workshop(TinyWorkshop):
    """Reads no disk; tells when it has."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self.reached = reached

    def contents(self, disk: Path) -> ImageContents:
        found = super().contents(disk)
        self.reached(READ)
        return found


class Drawer(Shelf):
    """Tells when evidence is kept."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        super().__init__()
        self.reached = reached

    def keep(self, evidence: Evidence) -> None:
        super().keep(evidence)
        self.reached(KEPT)


class Room:
    """Stands for the inside of a builder."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        self.said.append(step.shown)
        if step.shown == "fails":
            raise CommandFailed("The bake failed: `fails` exited with status 1")

    def install(self, pins: Sequence[PackagePin]) -> None:
        self.said += [pin.name for pin in pins]

    def clean(self) -> None:
        self.said.append("clean")

    def check(self) -> None:
        self.said.append("check")


@dataclass
class Bakes:
    """Bakes by builders of one account, in one directory.

    Args:
        reached: Told ``READ`` and ``KEPT``.
    """

    account: Account
    directory: Path
    base_image_id: str
    ahead: timedelta = timedelta()
    strategy: BakeStrategy = BakeStrategy.INSTANCE
    reached: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.said: list[str] = []
        self.vpc_id, (subnet_id, *_) = default_subnets(self.account)
        self.images = Ec2Images(self.account, clock=Clock())
        self.shelf = Drawer(self.reached)
        self.snapshots = EbsSnapshots(
            self.account, cache=self.directory.with_name("disks"), clock=Clock()
        )
        self.builders = Builders(
            self.account,
            BuilderSpec(vpc_id=self.vpc_id, subnet_id=subnet_id),
            directory=self.directory,
            tools=self.directory,
            clock=Clock(self.ahead),
            open_room=self.open_room,
        )

    @contextmanager
    def open_room(
        self, place: Path, reach: ssh.Reach, *, repository: RepositoryState, log: BakeLog
    ) -> Iterator[Room]:
        """See that the key pair of the instance is the one whose private half is here."""
        assert (place / ssh.KEY).exists()
        log(f"in at {reach.host} for {repository.suite}")
        yield Room(self.said)

    def bake(self, version: str, *steps: str, fresh: bool = False) -> Baked:
        request = BakeRequest(
            app=APP, version=version, commit="c" * 40, release_id="hello-ccccccc-1",
            base_image_id=ImageId(self.base_image_id), packages=(), repository=STATE, fresh=fresh,
            recipe=tuple(RecipeStep(work=Shell(lines=(step,))) for step in (version, *steps)),
            strategy=self.strategy,
        )  # fmt: skip
        kitchen = Kitchen(
            images=self.images,
            snapshots=self.snapshots,
            workshop=Workshop(self.reached),
            builders=self.builders,
            evidence=self.shelf,
        )
        return bake(request, kitchen=kitchen, progress=self.said.append)

    def temporary(self) -> list[str]:
        """Return everything that is marked as a builder's, and keys on this host."""
        ec2 = self.account.ec2
        only: Any = [{"Name": "tag-key", "Values": [TEMPORARY_TAG]}]
        groups = ec2.describe_security_groups(Filters=only)["SecurityGroups"]
        reservations = ec2.describe_instances(Filters=only)["Reservations"]
        instances = [one for found in reservations for one in found["Instances"]]
        living = [one for one in instances if one["State"]["Name"] != "terminated"]
        return [
            *(one["InstanceId"] for one in living),
            *(one["GroupId"] for one in groups),
            *(one["KeyName"] for one in ec2.describe_key_pairs(Filters=only)["KeyPairs"]),
            *(one["ImageId"] for one in ec2.describe_images(Filters=only)["Images"]),
            *(one["SnapshotId"] for one in ec2.describe_snapshots(Filters=only)["Snapshots"]),
            *(path.name for path in self.directory.glob("????????")),
        ]

    def locks(self) -> list[str]:
        """Return the locks of bakes that are under way, or did not end well."""
        return [path.name for path in self.directory.glob("*.lock")]

    def made(self, version: str) -> int:
        """Return how many images of a version there are."""
        found = self.account.ec2.describe_images(
            Owners=["self"], Filters=[{"Name": "name", "Values": [f"{APP}-{version}-*"]}]
        )["Images"]
        tags = [{tag["Key"] for tag in image.get("Tags", [])} for image in found]
        assert all({BAKE_KEY_TAG, PROVENANCE_TAG, DISK_TAG} <= one for one in tags), found
        return len(found)


@dataclass(frozen=True)
class Death:
    """What was found after one kill, and after the bake that followed it."""

    call: str
    signal: int
    left: int
    left_after: list[str]
    images: int


def die_at(wanted: str) -> Callable[[str], None]:
    """Return what kills this process when it is told of one point."""

    def reached(point: str) -> None:
        if point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def die_after(account: Account, call: str) -> None:
    """Kill this process as soon as a call is answered, for the first or a later time."""
    name, _, number = call.partition(" ")
    left = int(number or 1)

    def die(**_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    account.ec2.meta.events.register(f"after-call.ec2.{name}", die)


def killed(bakes: Bakes, call: str, endpoint: Endpoint) -> Death:
    """Kill a bake, look, and bake again."""
    version = call.replace(" ", "-").lower()
    child = os.fork()
    if not child:
        account = endpoint.development  # not its parent's connections
        if call not in {READ, KEPT}:
            die_after(account, call)
        dying = Bakes(account, bakes.directory, bakes.base_image_id, reached=die_at(call))
        dying.bake(version)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    left = len(bakes.temporary())
    bakes.bake(version)
    return Death(
        call=call,
        signal=os.WTERMSIG(status),
        left=left,
        left_after=bakes.temporary() + bakes.locks(),
        images=bakes.made(version),
    )


def main(url: str, credentials: str, directory: str, image_id: str) -> None:
    endpoint = Endpoint(url=url, credentials_file=Path(credentials))
    bakes = Bakes(endpoint.development, Path(directory), image_id)
    for call in CALLS:
        death = killed(bakes, call, endpoint)
        sys.stdout.write(f"{json.dumps(asdict(death))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*cast("tuple[str, str, str, str]", sys.argv[1:]))
