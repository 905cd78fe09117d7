"""Words that people write in manifests: names, paths, lines, each with what is wrong with it."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field


def matches(pattern: str, words: str) -> AfterValidator:
    """Return a check of text against a pattern; *words* end the sentence that refuses it."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"`{text}` {words}")
        return text

    return AfterValidator(check)


def _line(text: str) -> str:
    if not text.strip():
        raise ValueError("must be one line that is not empty")
    return _phrase(text)


def _phrase(text: str) -> str:
    if "\n" in text.strip():
        raise ValueError("must be one line")
    return _words(text.strip())


def _words(text: str) -> str:
    if any(unicodedata.category(sign) == "Cc" for sign in text.replace("\n", "").replace("\t", "")):
        raise ValueError("must not hold control characters")
    if max(map(len, text.split("\n"))) > LONGEST:
        raise ValueError(f"must not have a line of more than {LONGEST} characters")
    return text


def _arn(text: str) -> str:
    if not re.fullmatch(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:\S+", text):
        raise ValueError(f"`{text}` is not an ARN")
    return text


# nfpm leaves out lines of more than 64 KiB (measured on 2026-11-25 with 2.48).
LONGEST = 10_000


# Source: Frigga, NameConstants: names of apps have no hyphen, since it parts name and stack.
AppName = Annotated[
    str,
    matches(r"[a-zA-Z0-9._]+", "is not an app's name: use letters, digits, `.` and `_`, no `-`"),
    Field(max_length=64),
]
# Source: Debian policy 5.6.1, Source; 5.6.7, Package.
PackageName = Annotated[
    str, matches(r"[a-z0-9][a-z0-9+.-]+", "is not a package's name: lower case, digits, `+.-`")
]
# Source: adduser(8), NAME_REGEX of Debian.
UserName = Annotated[
    str, matches(r"[a-z_][a-z0-9_-]{0,30}", "is not a user's name: lower case, digits, `_-`")
]
ServiceName = Annotated[
    str, matches(r"[a-z0-9][a-z0-9_.-]*", "is not a service's name: lower case, digits, `_.-`")
]
Destination = Annotated[str, matches(r"/[^\s\"']+", "is not an absolute path (without spaces)")]
AbsolutePath = Annotated[str, matches(r"/[^\s\"']*", "is not an absolute path (without spaces)")]
VariableName = Annotated[str, matches(r"[A-Za-z_][A-Za-z0-9_]*", "is not a variable's name")]
Line = Annotated[str, AfterValidator(_line)]
Phrase = Annotated[str, AfterValidator(_phrase)]  # a line, or nothing
Words = Annotated[str, AfterValidator(_words)]  # of several lines
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Arn = Annotated[str, AfterValidator(_arn)]
