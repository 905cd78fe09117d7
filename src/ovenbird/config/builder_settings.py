"""The settings of builder instances: where they are launched, and how they are reached."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ovenbird.config.documents import Strict


def _network(text: str) -> str:
    if text not in {"", "none"}:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ValueError(f"must be a CIDR block as `10.0.0.0/8`, or `none`: {error}") from error
    return text


HostAndPort = Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-]+:[0-9]{1,5}$")]


class BuilderSettings(Strict):
    """What a builder instance is, in the environment that bakes.

    Args:
        instance_type: Empty for `t3.medium`, or `t4g.medium` for arm64.
        subnet_id: Empty for the first subnet of the environment that bakes.
        address: Which address SSH connects to.
        ssh_from: CIDR block from which builders take SSH; empty for their own network's,
            `none` for nowhere, as with Session Manager.
        user: Who logs in; another one than root needs `sudo` without a password.
        host_key: `sent` to the builder by user data, and no other accepted; or `any` that
            answers first, for images without cloud-init.
        proxy_command: As OpenSSH's `ProxyCommand`: `%h` and `%p`, and `{instance_id}`; empty
            to connect directly.
        open_to: `host:port` of what package managers on a builder reach through this host;
            empty where builders have a way out of their own.
        instance_profile: Name; empty for none.
        volume_gib: Of the root volume; 0 for the base image's.
        answers_within_s: Seconds until SSH must answer.
        timeout_s: Seconds for a whole bake; then whoever comes next removes the builder.
    """

    instance_type: str = ""
    subnet_id: str = ""
    address: Literal["private", "public"] = "private"
    ssh_from: Annotated[str, AfterValidator(_network)] = ""
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "root"
    host_key: Literal["sent", "any"] = "sent"
    proxy_command: str = ""
    open_to: tuple[HostAndPort, ...] = ()
    instance_profile: str = ""
    volume_gib: Annotated[int, Field(ge=0, le=16384)] = 0
    answers_within_s: Annotated[float, Field(gt=0)] = 600.0
    timeout_s: Annotated[float, Field(ge=600)] = 4 * 3600.0

    @model_validator(mode="after")
    def _reachable(self) -> BuilderSettings:
        if self.address == "public" and not (self.ssh_from or self.proxy_command):
            raise ValueError("must say `ssh_from`, this host's address, with `address: public`")
        return self
