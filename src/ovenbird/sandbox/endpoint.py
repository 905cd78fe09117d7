"""The sandbox's API served from this process, with both accounts ready to be asked.

Nothing is booted and no root is needed: what tests and the demo use where the API is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.sandbox import accounts, server
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, REGION, Places


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the sandbox answers, and as whom it may be asked."""

    url: str
    credentials_file: Path

    def account(self, account_id: str, *, role_arn: str = "") -> Account:
        """Return an account, reached by a role when one is given."""
        return open_account(
            AccountAccess(
                account_id=account_id,
                region=REGION,
                role_arn=role_arn,
                endpoint_url=self.url,
                credentials_file=str(self.credentials_file),
                profile="ovenbird-sandbox",
            )
        )

    @property
    def development(self) -> Account:
        """The account that bakes."""
        return self.account(DEVELOPMENT)

    @property
    def production(self) -> Account:
        """The account that only receives, reached by its role."""
        role = f"arn:aws:iam::{PRODUCTION}:role/{accounts.ROLE}"
        return self.account(PRODUCTION, role_arn=role)


@contextmanager
def running(home: Path, *, cache: Path) -> Iterator[Endpoint]:
    """Serve the sandbox's API from this process; once in a process, since moto is global."""
    server.install(Places(home=home, cache=cache))
    key = accounts.create()
    credentials = home / "credentials"
    credentials.write_text(
        "[ovenbird-sandbox]\n"
        f"aws_access_key_id = {key['access_key_id']}\n"
        f"aws_secret_access_key = {key['secret_access_key']}\n"
    )
    with server.serving(server.application(server.Calls())) as url:
        yield Endpoint(url=url, credentials_file=credentials)
