"""The files that point clients at the sandbox: ``settings.yaml`` and AWS credentials.

They are the last thing that ``up`` writes: where the settings are, the sandbox is ready.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ovenbird.sandbox.base_images import mirrors
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, REGION, Places
from ovenbird.sandbox.reaching import proxy_command

PROFILE = "ovenbird-sandbox"
ROLE = "ovenbird-deploy"
ROLE_ARN = f"arn:aws:iam::{PRODUCTION}:role/{ROLE}"
PERIOD_S = 1.0  # the sandbox publishes its balancers' metrics each second


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where one account's server groups are launched.

    Args:
        address: The load balancer's DNS name.
    """

    account_id: str
    vpc_id: str
    subnet_ids: tuple[str, ...]
    security_group_id: str
    listener_arn: str
    address: str

    @property
    def url(self) -> str | None:
        """Where people reach the listener; None while the address is a name nobody resolves."""
        try:
            return f"http://{ipaddress.ip_address(self.address)}"
        except ValueError:
            return None


def settings(
    places: Places, *, endpoint_url: str, base_image: str, networks: Mapping[str, Network]
) -> dict[str, Any]:
    """Return the content of the settings file.

    Args:
        places: Product state goes beside the sandbox's home, so that ``down`` keeps it.
        endpoint_url: Of the server.
        base_image: Image name of ``debian-12``.
        networks: By account id.
    """
    state = places.home.parent / "state"
    roles = {"dev": (DEVELOPMENT, None), "prod": (PRODUCTION, ROLE_ARN)}
    return {
        "state_directory": str(state),
        "repository": {
            "name": "main",
            "channel": "candidate",
            "directory": str(state / "repository"),
            "signing_key": str(state / "keys"),
        },
        "base_images": {"debian-12": {"name": base_image}},
        "bake_environment": "dev",
        "builders": {
            "proxy_command": proxy_command(places.namespace(DEVELOPMENT)),
            "open_to": list(mirrors()),
        },
        "judge": {"period_s": PERIOD_S},
        "environments": {
            name: _environment(places, endpoint_url, networks[account], role_arn)
            for name, (account, role_arn) in roles.items()
        },
    }


def write_settings(path: Path, content: Mapping[str, Any]) -> None:
    """Write the settings in one step."""
    text = StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(dict(content), text)
    part = path.with_suffix(".part")
    part.write_text(
        f"# Written by `ovenbird sandbox up`; gone with the sandbox.\n{text.getvalue()}"
    )
    part.replace(path)


def write_credentials(path: Path, key: Mapping[str, str]) -> None:
    """Write a shared credentials file with the sandbox's profile.

    Args:
        path: Readable for its owner only.
        key: ``access_key_id`` and ``secret_access_key``.
    """
    path.touch(mode=0o600)
    path.write_text(
        f"[{PROFILE}]\n"
        f"aws_access_key_id = {key['access_key_id']}\n"
        f"aws_secret_access_key = {key['secret_access_key']}\n"
    )


def client_environment(places: Places, endpoint_url: str) -> dict[str, str]:
    """Return the variables that point any AWS client, and Ovenbird, at the sandbox."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_SHARED_CREDENTIALS_FILE": str(places.credentials),
        "AWS_PROFILE": PROFILE,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "OVENBIRD_SETTINGS": str(places.settings),
    }


def _environment(
    places: Places, endpoint_url: str, network: Network, role_arn: str | None
) -> dict[str, Any]:
    known = {
        "account_id": network.account_id,
        "region": REGION,
        "endpoint_url": endpoint_url,
        "credentials_file": str(places.credentials),
        "profile": PROFILE,
        "role_arn": role_arn,
        "vpc_id": network.vpc_id,
        "subnet_ids": list(network.subnet_ids),
        "security_group_ids": [network.security_group_id],
        "listener_arn": network.listener_arn,
        "url": network.url,
    }
    return {key: value for key, value in known.items() if value is not None}
