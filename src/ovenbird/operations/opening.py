"""One installation of Ovenbird: its settings, its records and its doors.

    settings.yaml ──▶ store (our records)         enough for questions about the past
                  ──▶ ports (AWS, repository, …)  for all else; the endpoint is tried first

Each is opened when it is first needed, so that a question that the store can answer does
not wait for AWS.
"""

from __future__ import annotations

import getpass
import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ovenbird.config.settings import Settings, find_settings, load_settings
from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.names import ClusterName
from ovenbird.store.opening import open_store
from ovenbird.store.records import Store

if TYPE_CHECKING:
    from ovenbird.domain.ports import Repository, StoragePlace
    from ovenbird.pipeline.ports import Environment, Ports
    from ovenbird.stages.build import Sign

STORE = "store.sqlite"


class Installation:
    """What operations work on; closed at the end of a ``with`` block.

    Args:
        settings_file: None for the one that is found at the known places.
    """

    def __init__(self, settings_file: Path | None = None) -> None:
        self._settings_file = settings_file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if "store" in self.__dict__:
            self.store.close()

    @cached_property
    def settings(self) -> Settings:
        """The operator's settings.

        Raises:
            InvalidRequest: There is no settings file, or it is wrong.
            NotFound: The named one does not exist.
        """
        return load_settings(find_settings(self._settings_file))

    @property
    def state(self) -> Path:
        """The directory of databases and leases."""
        return self.settings.state_directory

    @cached_property
    def store(self) -> Store:
        """Our records.

        Raises:
            InvalidRequest: The state directory cannot be written.
        """
        try:
            self.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidRequest(
                f"`state_directory` cannot be made: {error}", hint="Mend it in the settings file"
            ) from error
        return open_store(f"sqlite:///{self.state / STORE}")

    @cached_property
    def ports(self) -> Ports:
        """Everything outside, through its doors.

        Raises:
            NotFound: The sandbox is not running.
            CloudError: Another endpoint does not answer.
        """
        from ovenbird.operations.doors import open_ports  # noqa: PLC0415 - boto takes its time

        return open_ports(self.settings, self.store)

    @cached_property
    def repository(self) -> Repository:
        """The package repository alone; AWS is asked only where it is in a bucket."""
        from ovenbird.operations.doors import open_repository  # noqa: PLC0415 - as above

        return open_repository(self.settings)

    @cached_property
    def storage(self) -> StoragePlace:
        """Where the package repository lives."""
        from ovenbird.operations.doors import open_storage  # noqa: PLC0415 - as above

        return open_storage(self.settings)

    @property
    def sign(self) -> Sign:
        """Signs packages with the repository's key, which is made when there is none."""
        from ovenbird.operations.doors import open_sign  # noqa: PLC0415 - as above

        return open_sign(self.settings)

    def environment(self, name: str) -> Environment:
        """Return one environment's doors.

        Raises:
            NotFound: The settings have no such environment.
        """
        self.settings.environment(name)
        return self.ports.environments[name]

    def environment_of(self, cluster: ClusterName, named: str | None = None) -> Environment:
        """Return the environment in which a cluster lives: the named one, or its stack's.

        Raises:
            NotFound: The settings have no such environment.
        """
        if named or cluster.stack in self.settings.environments:
            return self.environment(named or cluster.stack)
        known = ", ".join(f"`{known}`" for known in self.settings.environments)
        raise NotFound(
            f"`{cluster}` does not say in which environment it lives",
            hint=f"Name it with `--environment`; there are {known}",
        )


def person() -> str:
    """Return who asks: the login name, also under sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return f"uid {os.getuid()}"
