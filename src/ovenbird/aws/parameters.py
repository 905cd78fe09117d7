"""Parameters of Systems Manager."""

from __future__ import annotations

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors


class Parameters:
    """The parameters that one account sees, those of AWS among them.

    Permissions: ssm:GetParameter.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    def get(self, name: str) -> str:
        """Return a parameter's value.

        Raises:
            NotFound: There is none of that name.
        """
        hint = "Is the name whole, as `/aws/service/…`, and is it in this Region?"
        with cloud_errors(f"reading parameter `{name}`", hints={"ParameterNotFound": hint}):
            found = self._account.ssm.get_parameter(Name=name)  # a secret stays one
        return found["Parameter"]["Value"].strip()
