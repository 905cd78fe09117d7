"""Which line of the manifest an error is about that came long after the manifest was read.

What builds and packages names places by key, since it does not know the file:

    package.contents[2]: `dist` does not exist      a key, and what is wrong with it
    `hello: depends`: no version is both ...        a package, and one of its keys

With the file these become ``ovenbird.yaml:7: `package.contents[2]`: ...``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from ovenbird.config.documents import Place, line_of, parse
from ovenbird.config.manifest import MANIFEST, shown_name
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.sources import Source

_KEY = r"(?:packages?\.[\w.+-]*\w(?:\[\d+\])?|image\.recipe\[\d+\](?:\.[a-z]+)*)"
_FRONT = re.compile(rf"({_KEY}): ")
_OWN = re.compile(r"`([a-z0-9][a-z0-9+.-]*): ([a-z_]+)`: ")
_WITHIN = re.compile(rf"(?<![\w`.])`?({_KEY})`?(?![\w.])")


class Places:
    """The lines of one commit's manifest.

    Args:
        source: The commit.
        checkout: The app's directory in a tree of it; read now.
    """

    def __init__(self, source: Source, checkout: Path) -> None:
        self._name = shown_name(source)
        self._data = parse(checkout / MANIFEST, self._name)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name file and line where a mistake that is found inside of the block is.

        Raises:
            InvalidRequest: What the block raised, with file and line in each line of its
                message that is about a key of the manifest.
        """
        try:
            yield
        except InvalidRequest as error:
            lines = (_placed(line, self._name, self._data) for line in str(error).split("\n"))
            if (words := "\n".join(lines)) == str(error):
                raise
            raise InvalidRequest(words, hint=error.hint, **error.facts) from error


def _placed(line: str, name: str, data: CommentedMap) -> str:
    """Return a line of a message with the file's lines in it."""
    head = ""
    if match := _FRONT.match(line):
        head, line = _named(match[1], name, data), line[match.end() :]
    elif match := _OWN.match(line):
        whose = f"packages.{match[1]}" if match[1] in data.get("packages", {}) else "package"
        head, line = _named(f"{whose}.{match[2]}", name, data), line[match.end() :]
    return head + _WITHIN.sub(lambda found: _beside(found, data), line)


def _named(key: str, name: str, data: CommentedMap) -> str:
    return f"{name}:{line_of(data, _place(key, data))}: `{key}`: "


def _beside(found: re.Match[str], data: CommentedMap) -> str:
    """Return a key in the middle of a sentence with its line, if the manifest has it."""
    place = _place(found[1], data)
    return f"`{found[1]}` (line {line_of(data, place)})" if _has(data, place) else found[0]


def _place(key: str, data: CommentedMap) -> Place:
    """Return keys and indices; a package's name may have dots."""
    first, _, rest = key.partition(".")
    names = [name for name in data.get("packages", {}) if rest.startswith(f"{name}.")]
    parts: list[int | str] = [first]
    if first == "packages" and names:
        parts.append(max(names, key=len))
        rest = rest.removeprefix(f"{parts[-1]}.")
    for word, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", rest):
        parts.append(int(index) if index else word)
    return tuple(parts)


def _has(data: object, place: Place) -> bool:
    for key in place:
        try:
            data = data[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return False
    return True
