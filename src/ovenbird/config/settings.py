"""The operator's file, ``settings.yaml``: accounts, networks, repository, base images.

It is found by ``--settings``, ``$OVENBIRD_SETTINGS``, ``STATE_HOME/settings.yaml`` and
``STATE_HOME/sandbox/settings.yaml``, in this order; the state home is ``$OVENBIRD_HOME``
or ``~/.local/state/ovenbird``. The sandbox writes the last one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ovenbird.config.builder_settings import BuilderSettings
from ovenbird.config.documents import Strict, read
from ovenbird.config.image_settings import BaseImageSettings, ImageSettings, RebakeSettings
from ovenbird.config.words import Arn
from ovenbird.domain.errors import InvalidRequest, NotFound

WORD = r"^[a-z][a-z0-9.]*$"  # goes into names of clusters and suites: no hyphens
REFERENCE = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)?$"  # read when needed, never kept
START = "Run `ovenbird sandbox up`, or write one and name it with `--settings`"


def _absolute(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_absolute():
        raise ValueError(f"must be an absolute path (or begin with `~`), not `{path}`")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$")]


class BucketSettings(Strict):
    """A bucket, and whose it is.

    Args:
        name: Source: S3 user guide, "General purpose bucket naming rules".
        prefix: What its keys begin with; empty for the whole bucket.
        environment: The environment whose account and role reach it; empty for the one that
            bakes.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$")] = ""
    environment: str = ""


class RepositorySettings(Strict):
    """The package repository, in a directory or in a bucket.

    Args:
        channel: Where releases publish what they build.
        release_channel: Where they publish what was promoted everywhere; empty for nowhere.
        component: Of the suites, as apt calls it.
        directory: Root of all formats.
        bucket: The same in S3.
        base_url: The address at which machines read the repository over HTTP, for yum's
            mirror lists; empty when they read it from the directory.
        signing_key: GPG home of the repository's key, made when it is missing.
    """

    name: Annotated[str, Field(pattern=WORD)] = "main"
    channel: Annotated[str, Field(pattern=WORD)] = "candidate"
    release_channel: Annotated[str, Field(pattern=f"{WORD}|^$")] = "release"
    component: Annotated[str, Field(pattern=WORD)] = "main"
    directory: AbsolutePath | None = None
    bucket: BucketSettings | None = None
    base_url: str = ""
    signing_key: AbsolutePath

    @model_validator(mode="after")
    def _somewhere(self) -> RepositorySettings:
        if (self.directory is None) == (self.bucket is None):
            raise ValueError("must name either a `directory` or a `bucket`")
        return self


class BakeSettings(Strict):
    """What holds for every bake on this host.

    Args:
        cache_gib: How much the disks of base images may take that are kept, GiB; the least
            recently used go first, but never one that is in use.
        boot_check_engine: ``container`` boots an image's disk with this host's kernel, in
            seconds; ``qemu`` boots the whole disk with its own, in a minute or two where there
            is no KVM. Both need root.
        boot_check_ignores: Units that may fail in a boot check.
    """

    cache_gib: Annotated[float, Field(gt=0)] = 20.0
    boot_check_engine: Literal["container", "qemu"] = "container"
    boot_check_ignores: tuple[str, ...] = ()


class JudgeSettings(Strict):
    """What holds for every judgement.

    Args:
        period_s: Period of the load balancer's metrics, seconds.
    """

    period_s: Annotated[float, Field(gt=0)] = 60.0


class ChannelRetention(Strict):
    """How much of a channel is kept, beside what runs.

    Args:
        keep_last: So many of the newest versions of each package.
        keep_days: What was published within so many days.
    """

    keep_last: Annotated[int, Field(ge=1)]
    keep_days: Annotated[float, Field(ge=0)]


class ImageRetention(Strict):
    """How many images are kept, beside those that are used.

    Args:
        keep_last: So many of the newest images of each app.
        keep_days: What was made within so many days.
        disable_after_days: From the deprecation on, until nobody can launch an image.
        remove_after_days: From the deprecation on, until an image goes with its snapshot.
    """

    keep_last: Annotated[int, Field(ge=1)] = 10
    keep_days: Annotated[float, Field(ge=1)] = 30.0
    disable_after_days: Annotated[float, Field(ge=0)] = 7.0
    remove_after_days: Annotated[float, Field(ge=0)] = 30.0

    @model_validator(mode="after")
    def _in_order(self) -> ImageRetention:
        if self.remove_after_days < self.disable_after_days:
            raise ValueError("`remove_after_days` must not be less than `disable_after_days`")
        return self


class RetentionSettings(Strict):
    """What `ovenbird catalog prune` keeps: the newest, and the young; what runs in any case.

    Args:
        keep_last: So many of the newest versions of each package in each channel.
        keep_days: What was published within so many days.
        state_days: Days for which a state can still be read when a newer one has come.
        channels: Channel → what is kept there, where it is something else; the channel of
            releases keeps 50 versions and 365 days.
        images: What `ovenbird image prune` keeps.
    """

    keep_last: Annotated[int, Field(ge=1)] = 20
    keep_days: Annotated[float, Field(ge=0)] = 90.0
    state_days: Annotated[float, Field(ge=1)] = 7.0
    channels: Mapping[str, ChannelRetention] = Field(default_factory=dict)
    images: ImageRetention = ImageRetention()


class EnvironmentSettings(Strict):
    """One environment: an account, a role in it, a network and a listener.

    Args:
        endpoint_url: Where its AWS answers; empty for AWS itself.
        credentials_file: Shared credentials file; empty for the SDK's own order.
        role_arn: Role to assume; empty to use the base credentials as they are.
        listener_arn: Load balancer listener; empty for apps without one.
        more_listener_arns: Further listeners of the same load balancer, as HTTPS beside HTTP:
            each cluster has a rule on all of them. Metrics and alarms are the load balancer's.
        images: Whether it launches the image that is shared with it, or copies it to one of its
            own.
        kms_key: What encrypts copies for it: in its own account where it copies; in the account
            that bakes where that is copied to another Region for it.
        url: The address at which people reach the listener.
        alarm_topics: SNS topics that alarms of server groups tell, unless they name others.
        prometheus_url: Where its Prometheus answers; empty for none.
        prometheus_token: Reference to a bearer token, ``env:NAME`` or ``file:/PATH``.
    """

    account_id: AccountId
    region: str
    endpoint_url: str | None = None
    credentials_file: AbsolutePath | None = None
    profile: str | None = None
    role_arn: str | None = None
    vpc_id: str
    subnet_ids: Annotated[tuple[str, ...], Field(min_length=1)]
    security_group_ids: tuple[str, ...] = ()
    listener_arn: str = ""
    more_listener_arns: tuple[str, ...] = ()
    url: str | None = None
    images: Literal["share", "copy"] = "share"
    kms_key: str = ""
    alarm_topics: tuple[Arn, ...] = ()
    prometheus_url: Annotated[str, Field(pattern=r"^(https?://[^\s@?#]+)?$")] = ""
    prometheus_token: Annotated[str, Field(pattern=REFERENCE)] = ""

    @model_validator(mode="after")
    def _first_listener(self) -> EnvironmentSettings:
        if self.more_listener_arns and not self.listener_arn:
            raise ValueError("`more_listener_arns` come after a `listener_arn`")
        return self


class Settings(Strict):
    """The whole file.

    Args:
        state_directory: Databases, work, outbox, cache and logs.
        base_images: Name in manifests → image.
        images: What holds for every image that is baked.
        rebake: When `ovenbird image rebake --scheduled` has something to do; None for never.
        builders: Of bakes by a builder instance.
        bake_environment: The environment whose account bakes and owns images.
        prices: Instance type → on-demand price of an hour in your Region and currency; what
            plans cost is not known for others.
    """

    state_directory: AbsolutePath
    repository: RepositorySettings
    base_images: Mapping[str, BaseImageSettings] = Field(default_factory=dict)
    images: ImageSettings = ImageSettings()
    rebake: RebakeSettings | None = None
    builders: BuilderSettings = BuilderSettings()
    bake_environment: str
    bakes: BakeSettings = BakeSettings()
    judge: JudgeSettings = JudgeSettings()
    retention: RetentionSettings = RetentionSettings()
    prices: Mapping[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    environments: Annotated[Mapping[str, EnvironmentSettings], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_periods_of_aws(self) -> Settings:
        """Source: CloudWatch API reference, PutMetricAlarm, Period; the sandbox takes any."""
        period_s = self.judge.period_s
        at_aws = any(not found.endpoint_url for found in self.environments.values())
        if at_aws and period_s not in {10, 20, 30} and period_s % 60:
            raise ValueError(
                f"`judge.period_s` is {period_s:g}; AWS takes 10, 20, 30, or a multiple of 60"
            )
        return self

    @model_validator(mode="after")
    def _bakes_somewhere(self) -> Settings:
        if self.bake_environment not in self.environments:
            known = ", ".join(f"`{name}`" for name in self.environments)
            raise ValueError(
                f"`bake_environment` is `{self.bake_environment}`, but the environments are {known}"
            )
        bucket = self.repository.bucket
        if bucket and bucket.environment and bucket.environment not in self.environments:
            raise ValueError(f"`repository.bucket.environment` is none: `{bucket.environment}`")
        return self

    def environment(self, name: str) -> EnvironmentSettings:
        """Return one environment.

        Raises:
            NotFound: The settings have none of that name.
        """
        if name not in self.environments:
            known = ", ".join(f"`{known}`" for known in self.environments)
            raise NotFound(
                f"No environment `{name}` in the settings", hint=f"There are {known}", name=name
            )
        return self.environments[name]


def load_settings(path: Path) -> Settings:
    """Read the operator's file.

    Raises:
        NotFound: It does not exist.
        InvalidRequest: Something in it is wrong; each place is named with its line.
    """
    return read(path, Settings, later=LATER, missing=START)


LATER = {
    "database_url": "the databases are SQLite files in `state_directory`",
    "login": "there is no web face yet",
    "notifications": "follow a release with `ovenbird release logs --follow`",
}


def state_home() -> Path:
    """Return the directory of all state: ``$OVENBIRD_HOME``, or the user's state directory.

    Without symbolic links: the kernel knows mounts and processes by their real paths.
    """
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return Path(os.environ.get("OVENBIRD_HOME") or base / "ovenbird").resolve()


def cache_home() -> Path:
    """Return the directory of what can be made again, as apt's archives: ``$OVENBIRD_CACHE``."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("OVENBIRD_CACHE") or base / "ovenbird").resolve()


def find_settings(explicit: Path | None = None) -> Path:
    """Return the settings file that the command line means.

    Raises:
        InvalidRequest: There is none at any of the known places.
    """
    if explicit is not None:
        return explicit.absolute()
    if named := os.environ.get("OVENBIRD_SETTINGS"):
        return Path(named).absolute()
    places = [state_home() / "settings.yaml", state_home() / "sandbox" / "settings.yaml"]
    for place in places:
        if place.exists():
            return place
    looked = " nor ".join(f"`{place}`" for place in places)
    raise InvalidRequest(f"No settings: neither {looked} exists", hint=START)
