"""A sandbox in this process whose instances are machines."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

    from ovenbird.aws.clients import Account
    from ovenbird.sandbox.endpoint import Endpoint
    from ovenbird.sandbox.machines import MachineRoom
    from ovenbird.sandbox.places import Places


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The API with account networks, root disks, machines and a base image.

    Args:
        networks: Account id → name of its network namespace.
    """

    places: Places
    endpoint: Endpoint
    networks: dict[str, str]
    room: MachineRoom
    base_image_id: str

    @property
    def development(self) -> Account:
        return self.endpoint.development

    @property
    def production(self) -> Account:
        return self.endpoint.production

    def launch(self, account: Account, **more: Any) -> InstanceTypeDef:
        """Launch one instance of the base image, or of another one."""
        words = {"ImageId": self.base_image_id, "MinCount": 1, "MaxCount": 1, **more}
        return account.ec2.run_instances(**words)["Instances"][0]

    def state(self, account: Account, instance_id: str) -> str:
        return self.describe(account, instance_id)["State"]["Name"]

    def describe(self, account: Account, instance_id: str) -> InstanceTypeDef:
        found = account.ec2.describe_instances(InstanceIds=[instance_id])
        return found["Reservations"][0]["Instances"][0]

    def await_state(
        self, account: Account, instance_id: str, state: str, *, within_s: float = 30
    ) -> None:
        until(lambda: self.state(account, instance_id) == state, within_s=within_s)

    def get(self, account_id: str, url: str) -> tuple[int, str]:
        """Ask a machine from its account's network; 0 when there is no answer."""
        from ovenbird.sandbox.networks import within  # noqa: PLC0415 - moto is slow to import

        def ask() -> tuple[int, str]:
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.netloc, timeout=2)
            try:
                connection.request("GET", parts.path or "/")
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except (OSError, http.client.HTTPException):
                return 0, ""
            finally:
                connection.close()

        return within(self.networks[account_id], ask)

    def inside(self, instance_id: str, *command: str, ok: bool = True) -> str:
        """Run a program in a machine and return what it said."""
        pid = self.room.pid(instance_id)
        assert pid is not None
        line = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--uts", "--ipc"]
        done = subprocess.run(  # noqa: S603 - our own lines
            [*line, *command], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0 or not ok, done.stderr
        return done.stdout


def until(true: Callable[[], bool], *, within_s: float = 30, every_s: float = 0.05) -> float:
    """Wait until it is so; return the seconds that it took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() < start + within_s, "not in time"
        time.sleep(every_s)  # noqa: TID251 - a test's own wait
    return time.monotonic() - start


@pytest.fixture(scope="module")
def cloud(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Machines for both accounts of the session's one endpoint, since moto is global.

    For one module only: tests of the API alone want instances that are no machines.
    """
    from ovenbird.aws.snapshots import EbsSnapshots  # noqa: PLC0415 - moto is slow to import
    from ovenbird.config.settings import cache_home  # noqa: PLC0415
    from ovenbird.sandbox import base_images, leftovers, machines  # noqa: PLC0415
    from ovenbird.sandbox.disks import RootDisks  # noqa: PLC0415
    from ovenbird.sandbox.networks import account_network  # noqa: PLC0415
    from ovenbird.sandbox.places import ACCOUNTS, PRODUCTION, Places  # noqa: PLC0415
    from ovenbird.system.clock import SystemClock  # noqa: PLC0415

    places = Places(home=tmp_path_factory.mktemp("cloud"), cache=cache_home())
    account = endpoint.development
    snapshots = EbsSnapshots(account, cache=places.home / "downloads", clock=SystemClock())
    disk = base_images.ensure_base_disk(places.cache, print)
    image_id = base_images.register(disk, account=account, snapshots=snapshots)
    account.ec2.modify_image_attribute(
        ImageId=image_id, LaunchPermission={"Add": [{"UserId": PRODUCTION}]}
    )
    with ExitStack() as parts:
        networks = {one: parts.enter_context(account_network(places, one)) for one in ACCOUNTS}
        disks = RootDisks(places)
        parts.callback(disks.close)
        room = parts.enter_context(machines.running(places, disks, networks))
        yield Cloud(
            places=places, endpoint=endpoint, networks=networks, room=room, base_image_id=image_id
        )
    assert leftovers.sweep(places) == ()
