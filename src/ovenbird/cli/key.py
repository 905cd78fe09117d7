"""`ovenbird key`: the keys that sign packages and repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.options import change, confirm, opened, query, settings_option
from ovenbird.domain.keys import Key
from ovenbird.operations import keys
from ovenbird.operations.opening import Installation

file_type = click.Path(path_type=Path)


@click.group("key")
@settings_option
def group() -> None:
    """See and change the keys that sign packages and repositories.

    A new key takes over in two steps: after `rotate` (or `import`) everything is signed by the
    old key and the new one, after `retire` by the new one alone.
    """


@group.command()
@query
def show(*, as_json: bool) -> None:
    """Show the signing keys, what each is for and until when it lasts.

    Example: `ovenbird key show`
    """
    with opened() as installation:
        view = keys.get_keys(installation)
    if as_json:
        output.answer(view)
        return
    output.table(("fingerprint", "role", "kind", "made", "lasts until", ""), map(_row, view.keys))
    click.echo(f"home {view.home}")


@group.command()
@click.option(
    "--lost", multiple=True, metavar="FINGERPRINT",
    help="A key that is gone for good, and no longer signs; may be given again.",
)  # fmt: skip
@change
def rotate(*, lost: tuple[str, ...], as_json: bool, dry_run: bool, yes: bool) -> None:
    """Make a new key, which signs beside the old one until that is retired.

    Example: `ovenbird key rotate --dry-run`
    """
    with opened() as installation:
        proposed = keys.plan_rotate(installation, lost=lost)
        _change(installation, proposed, as_json=as_json, dry_run=dry_run, yes=yes)


@group.command()
@change
def retire(*, as_json: bool, dry_run: bool, yes: bool) -> None:
    """Let the older of two keys sign no more.

    Clients that have only that key can read nothing that is published from now on.

    Example: `ovenbird key retire --yes`
    """
    with opened() as installation:
        proposed = keys.plan_retire(installation)
        _change(installation, proposed, as_json=as_json, dry_run=dry_run, yes=yes)


@group.command("import")
@click.argument("file", type=file_type)
@click.option("--passphrase-file", type=file_type, help="Its first line is the key's pass phrase.")
@change
def import_(
    *, file: Path, passphrase_file: Path | None, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Let a secret key from FILE sign, beside the one that signs now.

    FILE is what `gpg --export-secret-keys` writes, armoured or not. A pass phrase is copied
    into the key's home, readable by its owner only.

    Example: `ovenbird key import team.key --passphrase-file team.pass`
    """
    with opened() as installation:
        proposed = keys.plan_import(installation, file, passphrase_file=passphrase_file)
        _change(installation, proposed, as_json=as_json, dry_run=dry_run, yes=yes)


@group.command()
@click.option("--armor", is_flag=True, help="As text.")
@query
def export(*, armor: bool, as_json: bool) -> None:
    """Write the public keys that clients need, of all keys that sign, to stdout.

    With --json they are text in the document.

    Example: `ovenbird key export > /usr/share/keyrings/team.gpg`
    """
    with opened() as installation:
        data = keys.export_keys(installation, armor=armor or as_json)
    if as_json:
        output.answer({"public_keys": data.decode()})
    else:
        click.echo(data, nl=False)


def _change(
    installation: Installation, proposed: keys.KeyChange, *, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Show what would be done; then do it, if it is confirmed."""
    if dry_run and as_json:
        output.answer({"actions": proposed.words})
        return
    for sentence in proposed.words:
        click.echo(f"- {sentence}", err=not dry_run)
    if dry_run:
        return
    confirm("Do it?", yes=yes)
    fingerprint = proposed.act()
    if as_json:
        view: dict[str, Any] = output.to_data(keys.get_keys(installation))
        output.answer({"fingerprint": fingerprint, **view})
    else:
        click.echo(fingerprint)


def _row(key: Key) -> tuple[str, ...]:
    until = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "-"
    made = f"{key.created_at:%Y-%m-%d}"
    return (key.fingerprint, key.role.value, key.algorithm, made, until, key.problem)
