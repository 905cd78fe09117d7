"""The sandbox's API served from this process, with both accounts ready to be asked.

Nothing is booted and no root is needed: what tests and the demo use where the API is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.sandbox import accounts, server
from ovenbird.sandbox.faults import Faults
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, REGION, Places
from ovenbird.sandbox.settings_file import PROFILE, ROLE_ARN, write_credentials


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the sandbox answers, and as whom it may be asked.

    Args:
        faults: What goes wrong with its calls; nothing, until it is told to decide.
    """

    url: str
    credentials_file: Path
    faults: Faults = field(default_factory=Faults)

    def account(self, account_id: str, *, role_arn: str = "") -> Account:
        """Return an account, reached by a role when one is given."""
        return open_account(
            AccountAccess(
                account_id=account_id,
                region=REGION,
                role_arn=role_arn,
                endpoint_url=self.url,
                credentials_file=str(self.credentials_file),
                profile=PROFILE,
            )
        )

    @property
    def development(self) -> Account:
        """The account that bakes."""
        return self.account(DEVELOPMENT)

    @property
    def production(self) -> Account:
        """The account that only receives, reached by its role."""
        return self.account(PRODUCTION, role_arn=ROLE_ARN)


def prepare(places: Places) -> Callable[[str], Endpoint]:
    """Correct moto, make user and role, write the credentials; once in a process.

    Returns:
        What makes the endpoint from the server's URL.
    """
    server.install(places)
    write_credentials(places.credentials, accounts.create())
    return lambda url: Endpoint(url=url, credentials_file=places.credentials)


@contextmanager
def running(home: Path, *, cache: Path) -> Iterator[Endpoint]:
    """Serve the sandbox's API from this process; once in a process, since moto is global."""
    connect = prepare(Places(home=home, cache=cache))
    faults = Faults()
    with server.serving(server.application(server.Calls(), faults=faults)) as url:
        yield replace(connect(url), faults=faults)
