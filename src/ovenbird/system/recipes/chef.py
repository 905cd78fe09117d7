"""Chef: a run list is converged in the image by its own chef-solo, or cinc-solo.

    cookbooks ─ lent, read-only ─┐
    solo.rb, attributes ─ lent ──┴─▶ chef-solo in the image ─▶ resources

Chef is not lent: it is one large package with a Ruby of its own, which a step before can install.
What Chef writes for itself (caches, backups, the node's file) is below ``/run``.
Source: Chef Infra documentation, "chef-solo (executable)" and "solo.rb".
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import Chef
from ovenbird.system.recipes import shell
from ovenbird.system.recipes.doing import Doing
from ovenbird.system.recipes.step_hands import MEND

PROGRAMS = (
    "cinc-solo", "chef-solo",
    "/opt/cinc/bin/cinc-solo", "/opt/cinc/bin/chef-solo", "/opt/chef/bin/chef-solo",
)  # fmt: skip
UNLICENSED = (172, 173, 174)  # Source: license-acceptance's README; Chef's exit_code.rb
_LICENSE = "Set the variable `CHEF_LICENSE: accept-no-persist`, or use Cinc, which asks for none"
_INSTALL = "Install Cinc or Chef in a step before, or take a base image that has one"
WORK = "@WORK@"  # in solo.rb: stands for a directory that does not stay
SCRIPT = f"""\
work=$(mktemp -d /run/ovenbird-chef-XXXXXX)
trap 'rm -rf "$work"' EXIT
program=$1 given=$2
shift 2
sed "s#{WORK}#$work#g" "$given/solo.rb" >"$work/solo.rb"
"$program" --config "$work/solo.rb" --json-attributes "$given/attributes.json" "$@"
"""
# Without a fork its exit status and its end are those of the run itself; without the formatter
# it says nothing where there is no terminal.
OPTIONS = ("--no-color", "--no-fork", "--force-formatter", "--log_level", "warn")
_FAILED = re.compile(r"\s*Error executing action `\w+` on resource '(.*)'")


def run(work: Chef, doing: Doing) -> None:
    """Converge a run list in the image.

    Raises:
        CommandFailed: A resource failed, which is named; or the image has no Chef.
        InvalidRequest: The cookbooks are missing.
    """
    cookbooks = doing.file(work.cookbooks)
    program = _program(doing)
    said = f"{program} {','.join(work.run_list)}"
    doing.log(f"$ {said}")
    with (
        doing.hands.lend(cookbooks) as books,
        _written(configuration(books), attributes(work, doing.step.variables)) as given,
        doing.hands.lend(given) as lent,
    ):
        argv = [*shell.line(SCRIPT), "chef", program, lent, *OPTIONS]
        try:
            doing.hands.run(argv, said=said, hint=MEND, environment=doing.step.variables)
        except CommandFailed as error:
            raise _named(error, doing.log.page) from error


def configuration(cookbooks: str) -> str:
    """Return the text of solo.rb.

    Args:
        cookbooks: Their directory in the image.
    """
    own = ("cache_path", "checksum_path", "file_backup_path", "file_cache_path", "node_path")
    lines = [
        f"cookbook_path [{json.dumps(cookbooks)}]",
        f'chef_repo_path "{WORK}"',
        *(f'{name} "{WORK}/{name}"' for name in own),
        'node_name "localhost"',
    ]
    return "".join(f"{line}\n" for line in lines)


def attributes(work: Chef, variables: Mapping[str, str]) -> str:
    """Return the JSON that chef-solo reads: attributes, variables and run list."""
    given = {**json.loads(work.attributes), "ovenbird": dict(variables)}
    return json.dumps({**given, "run_list": list(work.run_list)}, indent=2, sort_keys=True)


def failed_resource(lines: Sequence[str]) -> str:
    """Return the resource that failed, from what Chef printed; or nothing."""
    return next((found[1] for line in lines if (found := _FAILED.match(line))), "")


def _program(doing: Doing) -> str:
    if (found := shell.first_of(PROGRAMS, doing)) is None:
        raise CommandFailed(
            f"The bake failed: `{doing.step.shown}` needs chef-solo or cinc-solo in the image, "
            "and it has neither",
            hint=_INSTALL,
        )
    return found


def _named(error: CommandFailed, page: Sequence[str]) -> CommandFailed:
    if error.facts.get("status") in UNLICENSED:
        return CommandFailed(f"{error}: no license", hint=_LICENSE, **error.facts)
    if not (resource := failed_resource(page)):
        return error
    text = f"{error}, in `{resource}`"
    return CommandFailed(text, hint=error.hint, **error.facts, resource=resource)


@contextmanager
def _written(solo: str, given: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as name:
        place = Path(name)
        (place / "solo.rb").write_text(solo)
        (place / "attributes.json").write_text(given)
        yield place
