"""Launch templates as flat settings, so that two of them can be compared.

Source: EC2 API reference, DescribeLaunchTemplateVersions, ResponseLaunchTemplateData.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.errors import NotFound
from ovenbird.domain.launching import ENVIRONMENT_FILE
from ovenbird.domain.names import ServerGroupName

_LINE = re.compile(r'^([^=]+)="(.*)"$')
_ESCAPED = re.compile(r"\\(.)")
_USER_DATA = "UserData"
_LEFT_OUT = {"TagSpecifications"}  # they name the server group: never the same


class LaunchSettings:
    """Reads launch templates of one account.

    Permissions: ec2:DescribeLaunchTemplateVersions.
    """

    def __init__(self, account: Account) -> None:
        self._ec2 = account.ec2

    def read(self, name: ServerGroupName) -> dict[str, str]:
        """Return what a server group is launched with; nothing when its template is gone."""
        try:
            with cloud_errors(f"describing launch template `{name}`"):
                answer = self._ec2.describe_launch_template_versions(
                    LaunchTemplateName=str(name), Versions=["$Default"]
                )
        except NotFound:
            return {}
        found = answer["LaunchTemplateVersions"]
        return flat(found[0]["LaunchTemplateData"]) if found else {}


def flat(data: Mapping[str, Any]) -> dict[str, str]:
    """Return a template's data as key → text: ``MetadataOptions.HttpTokens`` → ``required``.

    User data become ``environment.NAME``, or ``UserData`` when somebody else wrote them.
    """
    kept = {key: value for key, value in data.items() if key not in {*_LEFT_OUT, _USER_DATA}}
    written = data.get(_USER_DATA, "")
    return {**dict(_flat("", kept)), **_values(str(written))}


def _flat(head: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{head}.{key}" if head else str(key), item)
    elif isinstance(value, list | tuple):
        if all(isinstance(item, str) for item in value):
            yield head, ", ".join(sorted(value))
        else:
            for number, item in enumerate(value):
                yield from _flat(f"{head}.{number}", item)
    else:
        yield head, str(value).lower() if isinstance(value, bool) else str(value)


def _values(encoded: str) -> dict[str, str]:
    if not encoded:
        return {}
    try:
        text = base64.b64decode(encoded).decode()
        files = json.loads(text.partition("\n")[2])["write_files"]
        (content,) = (one["content"] for one in files if one["path"] == ENVIRONMENT_FILE)
    except (ValueError, KeyError, TypeError, binascii.Error):
        return {_USER_DATA: encoded}
    found = (_LINE.match(line) for line in str(content).splitlines())
    return {f"environment.{one[1]}": _ESCAPED.sub(r"\1", one[2]) for one in found if one}
