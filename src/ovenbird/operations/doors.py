"""From settings to ports: every door of the product, opened once and handed to the pipeline."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.metrics import Metrics
from ovenbird.aws.server_groups import NetworkSpec, ServerGroups
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.config.settings import EnvironmentSettings, Settings, cache_home
from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.ports import Clock
from ovenbird.packaging.apt_repository import AptRepository
from ovenbird.packaging.signing import SigningKey
from ovenbird.pipeline.ports import Environment, Ports
from ovenbird.store.records import Store
from ovenbird.system.clock import SystemClock
from ovenbird.system.workshop import Workshop

ANSWERS_WITHIN_S = 3.0  # a connection to an endpoint on this host takes less than a millisecond


def open_ports(settings: Settings, store: Store) -> Ports:
    """Open everything that the pipeline's steps use.

    Only what has an endpoint of its own is asked now, whether it answers; AWS itself is
    first asked when a step needs it.

    Raises:
        NotFound: The sandbox is not running.
        CloudError: Another endpoint does not answer.
        InvalidRequest: An environment has no listener.
    """
    for url in endpoints(settings):
        await_answer(url)
    clock = SystemClock()
    accounts = {name: open_account(_access(found)) for name, found in settings.environments.items()}
    state, repository = settings.state_directory, settings.repository
    return Ports(
        store=store,
        clock=clock,
        directory=state,
        repository=open_repository(settings),
        channel=repository.channel,
        release_channel=repository.release_channel,
        snapshots=EbsSnapshots(
            accounts[settings.bake_environment], cache=state / "cache/disks", clock=clock
        ),
        workshop=Workshop(state / "bakes", cache=cache_home() / "apt"),
        base_images={name: found.name for name, found in settings.base_images.items()},
        bake_environment=settings.bake_environment,
        environments={
            name: _environment(name, found, accounts[name], settings, clock)
            for name, found in settings.environments.items()
        },
    )


def open_repository(settings: Settings) -> AptRepository:
    """Open the package repository alone; no environment is asked for anything."""
    repository = settings.repository
    if repository.directory is None:
        raise InvalidRequest("`repository.bucket` is not built yet", hint="Use `directory`")
    return AptRepository(
        repository.directory,
        name=repository.name,
        channel=repository.channel,
        key=SigningKey(repository.signing_key),
    )


def endpoints(settings: Settings) -> tuple[str, ...]:
    """Return the endpoints that are not AWS's own, each once."""
    found = (environment.endpoint_url for environment in settings.environments.values())
    return tuple(dict.fromkeys(url for url in found if url))


def await_answer(url: str) -> None:
    """Return when a connection to an endpoint could be made.

    Raises:
        NotFound: It is on this host, as the sandbox is, and nothing listens there.
        CloudError: It is elsewhere and does not answer.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=ANSWERS_WITHIN_S).close()
    except OSError as error:
        raise _silent(url, host, error) from error


def _silent(url: str, host: str, error: OSError) -> OvenbirdError:
    if _is_here(host):
        return NotFound(
            f"The sandbox is not running: nothing answers at `{url}`",
            hint="Run `ovenbird sandbox up`",
        )
    return CloudError(f"`{url}` does not answer: {error}", hint="Look at `endpoint_url`")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _access(found: EnvironmentSettings) -> AccountAccess:
    return AccountAccess(
        account_id=found.account_id,
        region=found.region,
        role_arn=found.role_arn or "",
        endpoint_url=found.endpoint_url or "",
        credentials_file=str(found.credentials_file or ""),
        profile=found.profile or "",
    )


def _environment(
    name: str, found: EnvironmentSettings, account: Account, settings: Settings, clock: Clock
) -> Environment:
    if not found.listener_arn:
        raise InvalidRequest(
            f"Environment `{name}` has no `listener_arn`", hint="Set it in the settings file"
        )
    period_s = settings.judge.period_s
    network = NetworkSpec(
        vpc_id=found.vpc_id,
        subnet_ids=found.subnet_ids,
        security_group_ids=found.security_group_ids,
        listener_arn=found.listener_arn,
    )
    return Environment(
        name=name,
        account_id=found.account_id,
        images=Ec2Images(account),
        groups=ServerGroups(account, network, clock=clock, period_s=period_s),
        metrics=Metrics(account, listener_arn=found.listener_arn, period_s=period_s),
        period_s=period_s,
    )
