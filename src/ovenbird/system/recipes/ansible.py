"""Playbooks: ansible-core, lent to the image, runs there against itself.

    our tree of ansible-core ─┐
    the playbook's directory ─┼─ lent, read-only ─▶ the image's python3 ─▶ tasks
    variables ────────────────┘

What Ansible writes for itself is below ``/tmp`` (scripts run there, and in ``/run`` they may
not), so that nothing of it stays in the image.
Source: ansible-core 2.19 documentation, "Ansible Configuration Settings", "ansible-playbook".
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import Ansible
from ovenbird.system.recipes import shell, tools
from ovenbird.system.recipes.doing import Doing
from ovenbird.system.recipes.step_hands import MEND

OLDEST = (3, 11)  # Source: ansible-core 2.19's `Requires-Python`
PYTHONS = ("python3", "python3.13", "python3.12", "python3.11")
_FOUND = 10  # status of the question below, plus the index of the answer
_NOTHING_FOR_US = "Let its plays have `hosts: localhost` or `hosts: all`, and look at the tags"

SETTINGS = {
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_NOCOWS": "1",
    "ANSIBLE_RETRY_FILES_ENABLED": "0",
    "ANSIBLE_LOCALHOST_WARNING": "0",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
    "ANSIBLE_STDOUT_CALLBACK": "default",
    "ANSIBLE_PIPELINING": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# /dev/shm: Ansible's locks are there (sem_open(3)). python3-apt: the module `apt` installs it
# where it is missing, and there it would stay.
SCRIPT = """\
work=$(mktemp -d /tmp/ovenbird-ansible-XXXXXX)
trap 'rm -rf "$work"' EXIT
export ANSIBLE_HOME="$work" ANSIBLE_LOCAL_TEMP="$work/local" ANSIBLE_REMOTE_TEMP="$work/remote"
[ -d /dev/shm ] || mkdir -m 1777 /dev/shm
python=$1 tree=$2 directory=$3 apt=$4
shift 4
if [ "$apt" ] && command -v apt-get >/dev/null && ! "$python" -c 'import apt' 2>/dev/null; then
  cd "$work"
  if apt-get download -q -o APT::Sandbox::User=root python3-apt && dpkg-deb -x python3-apt_*.deb apt
  then export PYTHONPATH="$work/apt/usr/lib/python3/dist-packages"
  fi
fi
cd "$directory"
"$python" -c '
import sys
sys.path.insert(0, sys.argv[1])
sys.argv[:2] = ["ansible-playbook"]
from ansible.cli.playbook import main
main()
' "$tree" -e "ansible_python_interpreter=$(command -v "$python")" "$@"
"""
_USES_APT = re.compile(r"\b(?:apt|apt_\w+|package|package_facts)\s*:")
_TASK = re.compile(r"(?:TASK|RUNNING HANDLER) \[(.*)\] \**")
_FAILED = re.compile(r"(?:fatal|failed): \[[^\]]*\].*?(?:FAILED|UNREACHABLE)!|failed: \[")


def run(work: Ansible, doing: Doing) -> None:
    """Run a playbook in the image.

    Raises:
        CommandFailed: A task failed, which is named; or the image has no Python that fits.
        InvalidRequest: The playbook is missing.
    """
    playbook = doing.file(work.playbook)
    python = _python(doing)
    said = f"ansible-playbook {work.playbook}"
    doing.log(f"$ {said}")
    with (
        doing.hands.lend(tools.ansible(doing.tools)) as tree,
        doing.hands.lend(playbook.parent) as directory,
        _written(dict(doing.step.variables)) as variables,
        doing.hands.lend(variables) as lent,
    ):
        apt = "apt" if uses_apt(playbook.parent) else ""
        argv = [
            *shell.line(SCRIPT), "ansible", python, tree, directory, apt,
            *options(work, variables=lent), playbook.name,
        ]  # fmt: skip
        try:
            doing.hands.run(argv, said=said, hint=MEND, environment=SETTINGS)
        except CommandFailed as error:
            raise _named(error, doing.log.page) from error
    if not any(line.startswith("localhost ") for line in doing.log.page):
        raise CommandFailed(
            f"The bake failed: `{said}` did nothing: no task of it ran",
            hint=_NOTHING_FOR_US,
        )


def options(work: Ansible, *, variables: str) -> list[str]:
    """Return the options of ansible-playbook.

    Args:
        work: Whose tags are taken.
        variables: Path of a JSON file in the image.
    """
    return [
        "--inventory", "localhost,",
        "--connection", "local",
        "--extra-vars", f"@{variables}",
        *(["--tags", ",".join(work.tags)] if work.tags else []),
    ]  # fmt: skip


def failed_task(lines: Sequence[str]) -> str:
    """Return the name of the last task that failed, from what Ansible printed; or nothing."""
    task, failed = "", ""
    for line in lines:
        if found := _TASK.match(line):
            task = found[1]
        elif _FAILED.match(line):
            failed = task
    return failed


def uses_apt(directory: Path) -> bool:
    """Tell whether a task below a directory may need apt's Python module."""
    return any(
        _USES_APT.search(path.read_text(encoding="utf-8", errors="replace"))
        for path in sorted(directory.rglob("*.y*ml"))
        if path.is_file()
    )


def _python(doing: Doing) -> str:
    """Return the name of a Python in the image that ansible-core runs on."""
    fits = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    lines = [
        f"if {name} -c '{fits}' 2>/dev/null; then exit {_FOUND + index}; fi"
        for index, name in enumerate(PYTHONS)
    ]
    lines.append("if command -v python3 >/dev/null; then python3 --version; else exit 1; fi")
    status = doing.hands.status(shell.line("\n".join(lines)), said="python3 --version")
    if status >= _FOUND:
        return PYTHONS[status - _FOUND]
    needed = ".".join(map(str, OLDEST))
    has = "it has an older one" if status == 0 else "it has none"
    raise CommandFailed(
        f"The bake failed: `{doing.step.shown}` needs Python {needed} in the image, and {has}",
        hint=f"Install it in a step before, as `packages: [python{needed}]`",
    )


def _named(error: CommandFailed, page: Sequence[str]) -> CommandFailed:
    if not (task := failed_task(page)):
        return error
    return CommandFailed(f"{error}, in task `{task}`", hint=error.hint, **error.facts, task=task)


@contextmanager
def _written(variables: dict[str, str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as name:
        path = Path(name) / "variables.json"
        path.write_text(json.dumps(variables))
        yield path
