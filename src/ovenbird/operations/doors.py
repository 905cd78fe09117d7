"""From settings to ports: every door of the product, opened once and handed to the pipeline."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from ovenbird.aws.bake_leftovers import BakeLeftovers
from ovenbird.aws.base_images import Ec2BaseImages
from ovenbird.aws.buckets import BucketStorage
from ovenbird.aws.builder_resources import BuilderSpec
from ovenbird.aws.builders import Builders
from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.aws.image_lives import ImageLives
from ovenbird.aws.image_uses import AccountUses
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.metrics import Metrics
from ovenbird.aws.networks import NetworkSpec
from ovenbird.aws.orphans import Orphans
from ovenbird.aws.preflight import Preflight
from ovenbird.aws.server_groups import ServerGroups
from ovenbird.aws.sharing import Ec2Sharing
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.config.settings import EnvironmentSettings, Settings, cache_home
from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.image_ports import Boots
from ovenbird.domain.images import BaseSource
from ovenbird.domain.packages import PackageFormat
from ovenbird.domain.ports import Clock, StoragePlace
from ovenbird.domain.sharing import ShareTarget
from ovenbird.packaging.keys.package_signatures import sign_package
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.cataloged import CatalogedRepository
from ovenbird.packaging.repositories.image_evidence import ImageEvidence
from ovenbird.pipeline.ports import Environment, Ports
from ovenbird.stages.build import Sign
from ovenbird.stages.measuring import Measuring
from ovenbird.store.records import Store
from ovenbird.system.boots.boot_containers import ContainerBoots
from ovenbird.system.boots.qemu import QemuBoots
from ovenbird.system.clock import SystemClock
from ovenbird.system.directory_storage import DirectoryStorage
from ovenbird.system.prometheus import Prometheus
from ovenbird.system.rooms.build_rooms import BaseRooms
from ovenbird.system.rooms.rootless import workshop_here
from ovenbird.system.secret_references import read_secret

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
    state, repository = settings.state_directory, settings.repository
    accounts = _open_accounts(settings)
    baking = accounts[settings.bake_environment]
    bases = Ec2BaseImages(baking, kms_key=settings.images.kms_key, clock=clock)
    snapshots = EbsSnapshots(
        baking, cache=state / "cache/disks", clock=clock, cache_gib=settings.bakes.cache_gib
    )
    builders = _open_builders(settings, baking, clock)
    return Ports(
        store=store,
        clock=clock,
        directory=state,
        repository=open_repository(settings),
        channel=repository.channel,
        release_channel=repository.release_channel,
        snapshots=snapshots,
        workshop=workshop_here(state / "bakes", cache=cache_home() / "apt"),
        rooms=BaseRooms(
            state / "builds",
            cache=cache_home() / "apt-of-builds",  # not the bakes': apt does not wait for its lock
            disk=partial(_base_disk, settings, bases, snapshots),
        ),
        sign=open_sign(settings),
        evidence=open_evidence(settings),
        boots=open_boots(settings),
        boot_ignored=settings.bakes.boot_check_ignores,
        base_images=base_sources(settings),
        bases=bases,
        builders=builders,
        bake_environment=settings.bake_environment,
        owner=partial(_sharing_in, settings, clock),
        environments=_open_environments(settings, accounts, builders, clock),
    )


def _open_builders(settings: Settings, baking: Account, clock: Clock) -> Builders:
    return Builders(
        baking,
        builder_spec(settings),
        directory=settings.state_directory / "builders",
        tools=cache_home() / "apt/tools",
        clock=clock,
    )


def _open_environments(
    settings: Settings, accounts: Mapping[str, Account], builders: Builders, clock: Clock
) -> dict[str, Environment]:
    """Open each environment; in the one that bakes there may be what bakes left, too."""
    found = {
        name: _environment(name, one, accounts[name], settings, clock)
        for name, one in settings.environments.items()
    }
    baker = found[settings.bake_environment]
    bakes = BakeLeftovers(
        accounts[baker.name],
        builder_spec(settings),
        is_dead=builders.is_dead,
        environment=baker.name,
        clock=clock,
    )
    return {**found, baker.name: replace(baker, left=(*baker.left, bakes))}


def open_repository(settings: Settings) -> CatalogedRepository:
    """Open the package repository alone; no environment is asked for anything."""
    found = settings.repository
    return CatalogedRepository(
        open_storage(settings),
        name=found.name,
        key=SigningKey(found.signing_key),
        component=found.component,
        base_url=found.base_url,
    )


def open_boots(settings: Settings) -> Boots:
    """Return what boots images once before they are offered."""
    place = settings.state_directory / "boots"
    if settings.bakes.boot_check_engine == "qemu":
        return QemuBoots(place)
    return ContainerBoots(place)


def open_evidence(settings: Settings) -> ImageEvidence:
    """Return what is known of images: it is kept in the package repository."""
    return ImageEvidence(open_storage(settings), SigningKey(settings.repository.signing_key))


def open_storage(settings: Settings) -> StoragePlace:
    """Return where the package repository lives; it may not be made yet.

    Raises:
        NotFound: It is in the sandbox, which is not running.
        CloudError: The endpoint does not answer.
    """
    found = settings.repository
    if found.bucket is None:
        return DirectoryStorage(cast("Path", found.directory))  # the settings have one of both
    environment = settings.environment(found.bucket.environment or settings.bake_environment)
    if environment.endpoint_url:
        await_answer(environment.endpoint_url)
    account = open_account(_access(environment))
    return BucketStorage(account, found.bucket.name, prefix=found.bucket.prefix)


def open_sign(settings: Settings) -> Sign:
    """Return what signs packages with the repository's key."""
    key = SigningKey(settings.repository.signing_key)

    def sign(path: Path, format_: PackageFormat, epoch_s: int) -> str:
        return sign_package(path, format_, key, epoch_s=epoch_s)

    return sign


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


def base_sources(settings: Settings) -> dict[str, BaseSource]:
    """Return how each base image of the settings is found."""
    return {
        name: BaseSource(
            name=found.name,
            image_id=found.id,
            parameter=found.parameter,
            tags=dict(found.tags),
            owner=found.owner,
            architecture=found.architecture,
        )
        for name, found in settings.base_images.items()
    }


def builder_spec(settings: Settings) -> BuilderSpec:
    """Return how builder instances are launched and reached, in the environment that bakes."""
    found, environment = settings.builders, settings.environment(settings.bake_environment)
    return BuilderSpec(
        vpc_id=environment.vpc_id,
        subnet_id=found.subnet_id or environment.subnet_ids[0],
        instance_type=found.instance_type,
        volume_gib=found.volume_gib,
        kms_key=settings.images.kms_key,
        instance_profile=found.instance_profile,
        public=found.address == "public",
        ssh_from=found.ssh_from,
        user=found.user,
        proxy_command=found.proxy_command,
        pins_host=found.host_key == "sent",
        open_to=found.open_to,
        answers_within=timedelta(seconds=found.answers_within_s),
        within=timedelta(seconds=found.timeout_s),
    )


def _base_disk(
    settings: Settings, bases: Ec2BaseImages, snapshots: EbsSnapshots, name: str
) -> Path:
    """Return the disk of a base image, read once and kept."""
    sources = base_sources(settings)
    if name not in sources:
        raise NotFound(f"Base image `{name}` is not in the settings", hint="Look at `base_images`")
    image = bases.ready(bases.find(sources[name]), progress=lambda _: None)
    if image.owner_id != settings.environments[settings.bake_environment].account_id:
        raise InvalidRequest(
            f"The blocks of base image `{name}` ({image.image_id}) cannot be read: it has billing "
            "products, and its owner alone can copy it",
            hint="Build on this host, or in another base image",
        )
    return snapshots.download(image.root_snapshot_id)


def _open_accounts(settings: Settings) -> dict[str, Account]:
    """Return each environment's account; those that are reached alike are one.

    So environments of one account share its reads, and this host's workers its quotas.
    """
    quotas = str(settings.state_directory / "quotas")
    by_access: dict[AccountAccess, Account] = {}
    accounts = {}
    for name, found in settings.environments.items():
        access = replace(_access(found), quotas=quotas)
        accounts[name] = by_access.setdefault(access, open_account(access))
    return accounts


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
        more_listener_arns=found.more_listener_arns,
        topics=found.alarm_topics,
    )
    return Environment(
        name=name,
        account_id=found.account_id,
        images=Ec2Images(account),
        groups=ServerGroups(account, network, clock=clock, period_s=period_s),
        metrics=Measuring(
            cloud=Metrics(account, listener_arn=found.listener_arn, period_s=period_s),
            queries=_prometheus(found, period_s),
            environment=name,
            clock=clock,
        ),
        period_s=period_s,
        uses=AccountUses(account, environment=name),
        lives=ImageLives(account),
        preflight=Preflight(account, network, clock=clock),
        sharing=Ec2Sharing(account, subnet_id=found.subnet_ids[0], clock=clock),
        target=ShareTarget(
            environment=name,
            account_id=found.account_id,
            region=found.region,
            copies=found.images == "copy",
            kms_key=found.kms_key,
            role_arn=found.role_arn or "",
        ),
        left=(Orphans(account, environment=name),),
    )


def _prometheus(found: EnvironmentSettings, period_s: float) -> Prometheus | None:
    if not found.prometheus_url:
        return None
    reference = found.prometheus_token
    token = partial(read_secret, reference) if reference else None
    return Prometheus(found.prometheus_url, period_s=period_s, token=token)


def _sharing_in(settings: Settings, clock: Clock, region: str) -> Ec2Sharing:
    """Return permissions and copies of the account that bakes, in a Region."""
    access = replace(_access(settings.environments[settings.bake_environment]), region=region)
    return Ec2Sharing(open_account(access), clock=clock)
