"""The app's own maintainer scripts, put into ours.

    install   ours: accounts · theirs (preinstall) · files · theirs (postinstall) · ours: start
    remove    ours: stop · theirs (preremove) · files · theirs (postremove) · ours: forget

Each runs with the arguments that the package manager gave, in a process of its own, so that
`exit` and `cd` in it end and move nothing else. When it fails, ours fails, and what would
follow is not done: dpkg stops, and so does rpm for %pre and %preun. After a failing %post rpm
goes on, warns and exits with 0 (measured on 2026-11-25 with rpm 4.18); then no service of the
package is enabled or started.

Source: Debian policy 6.4; rpm, "Scriptlets"; apk-package(5); PKGBUILD(5), "Install".
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.packaging.writing.contents import inside

_SHEBANG = re.compile(r"#! *(?P<program>\S+)(?P<rest>[^\n]*)")
_SHELLS = {"/bin/sh", "/usr/bin/sh", "/bin/dash", "/usr/bin/dash"}


def read(checkout: Path, path: str, *, place: str) -> str:
    """Return the text of one of the app's scripts.

    Raises:
        InvalidRequest: It is not in the checkout, or is no text file.
    """
    found = inside(checkout, path, place=place)
    try:
        text = found.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{place}: `{path}` is no script: {error}",
            hint="A maintainer script is a text file in UTF-8",
            place=place,
        ) from error
    if "\r\n" in text:
        raise InvalidRequest(
            f"{place}: the lines of `{path}` end as on Windows, which no shell reads",
            hint="Write it with plain line ends; `*.sh text eol=lf` in .gitattributes keeps them",
            place=place,
        )
    return text


def embedded(text: str) -> list[str]:
    """Return lines that run a script's text with the arguments of the script around it."""
    if not text.strip():
        return []
    shebang = _SHEBANG.match(text)
    if shebang is None or shebang["program"] in _SHELLS:
        options = re.findall(r"-[a-z]*", shebang["rest"]) if shebang else []
        return _in_a_subshell(text, stops="".join(options).count("e") > 0)
    return _by_its_interpreter(text, f"{shebang['program']}{shebang['rest']}")


def _in_a_subshell(text: str, *, stops: bool) -> list[str]:
    # Ours stops at the first failure; whether theirs does is theirs to say.
    return [
        "own() (",
        "set -e" if stops else "set +e",
        *text.rstrip("\n").split("\n"),
        ")",
        'own "$@"',
    ]


def _by_its_interpreter(text: str, interpreter: str) -> list[str]:
    end = f"END_{hashlib.sha256(text.encode()).hexdigest()[:16]}"  # in no text of this digest
    return [
        "own=$(mktemp)",
        f"cat >\"$own\" <<'{end}'",
        *text.rstrip("\n").split("\n"),
        end,
        "status=0",
        f'{interpreter.strip()} "$own" "$@" || status=$?',
        'rm -f "$own"',
        '[ "$status" -eq 0 ]',
    ]
