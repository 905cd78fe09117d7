"""Where pip and npm of this machine fetch from, passed on to builds that see no more of it.

A build has an empty home and a minimal environment: what the person or the machine set up
for pip and npm (a mirror, a proxy, a certificate) is read here and handed over, key by key.
Passed on are:

* pip (``pip.conf`` of the machine and the person, ``PIP_…``): ``index-url``,
  ``extra-index-url``, ``find-links``, ``no-index``, ``trusted-host``, ``cert``, ``proxy``,
  ``timeout``, ``retries``, as ``PIP_…``; pip reads no file of its own then.
* npm (``npmrc`` of the machine and the person, ``npm_config_…``): ``registry``,
  ``@SCOPE:registry``, ``cafile``, ``strict-ssl``, ``proxy``, ``https-proxy``, ``noproxy``,
  ``nodedir``, as the build's own ``~/.npmrc``.
* ``http_proxy`` and its like, the variables that name certificates, ``GOPROXY``.

Never passed on: tokens and passwords; a URL that holds one is left out and said so.
Certificates are copied, since a build cannot read everywhere.

Source: pip's documentation, "Configuration"; npm's documentation, "npmrc" and "config".
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PIP = frozenset(
    {
        "index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "proxy",
        "timeout", "default-timeout", "retries",
    }
)  # fmt: skip
_NPM = frozenset(
    {"registry", "cafile", "strict-ssl", "proxy", "https-proxy", "noproxy", "nodedir"}
)  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_PLAIN = (*_PROXIES, "GOPROXY", "GOSUMDB")
_CERTIFICATES = (
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)  # fmt: skip
_PASSWORD = re.compile(r"://[^/\s]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """What a build is told.

    Args:
        environment: Variables, for pip and for all.
        npm: Key of npm's configuration → value.
        directories: Local directories that the settings name.
        left_out: Settings that hold a password, as ``pip's index-url``.
    """

    environment: Mapping[str, str]
    npm: Mapping[str, str]
    directories: tuple[str, ...]
    left_out: tuple[str, ...]


def mirrors_of(variables: Mapping[str, str], *, root: Path = Path("/")) -> Mirrors:
    """Read what this machine says.

    Args:
        variables: The environment of this process.
        root: Where the machine's files are below.
    """
    home = Path(variables.get("HOME") or "/nonexistent")
    pip = _pip(variables, home, root)
    npm = _npm(variables, home, root)
    plain = {name: variables[name] for name in (*_PLAIN, *_CERTIFICATES) if variables.get(name)}
    secret = [f"pip's `{key}`" for key, value in pip.items() if _PASSWORD.search(value)]
    secret += [f"npm's `{key}`" for key, value in npm.items() if _PASSWORD.search(value)]
    secret += [f"`${key}`" for key, value in plain.items() if _PASSWORD.search(value)]
    environment = {f"PIP_{key.upper().replace('-', '_')}": value for key, value in pip.items()}
    kept = {key: value for key, value in npm.items() if not _PASSWORD.search(value)}
    passed = _without_passwords({**environment, **plain})
    return Mirrors(
        environment=passed,
        npm=kept,
        directories=_directories([*pip.values(), kept.get("nodedir", "")]),
        left_out=tuple(secret),
    )


def hand_over(mirrors: Mirrors, home: Path, *, seen_at: str) -> dict[str, str]:
    """Write npm's file and copies of certificates into a build's home.

    Args:
        mirrors: What to tell.
        home: The home's directory.
        seen_at: What the build calls it.

    Returns:
        The variables that the build gets.
    """
    keeper = _Certificates(home, seen_at)
    environment = {
        key: keeper.copied(value) if key in {*_CERTIFICATES, "PIP_CERT"} else value
        for key, value in mirrors.environment.items()
    }
    npm = {k: keeper.copied(v) if k == "cafile" else v for k, v in mirrors.npm.items()}
    quiet = {"audit": "false", "fund": "false", "update-notifier": "false"}
    lines = [f"{key}={value}\n" for key, value in {**npm, **quiet}.items()]
    (home / ".npmrc").write_text("".join(lines))
    (home / ".npmrc").chmod(0o644)
    return {
        **environment,
        "PIP_CONFIG_FILE": os.devnull,  # no file is read then
        "npm_config_globalconfig": f"{seen_at}/.npmrc-of-the-machine",  # there is none
    }


class _Certificates:
    """Copies files of certificates, each once."""

    def __init__(self, home: Path, seen_at: str) -> None:
        self._home, self._seen_at = home, seen_at
        self._names: dict[str, str] = {}

    def copied(self, path: str) -> str:
        if path not in self._names:
            name = f".certificates-{len(self._names)}.pem"
            try:
                shutil.copyfile(path, self._home / name)
            except OSError:
                return path  # the program says what it cannot read
            (self._home / name).chmod(0o644)
            self._names[path] = f"{self._seen_at}/{name}"
        return self._names[path]


def _pip(variables: Mapping[str, str], home: Path, root: Path) -> dict[str, str]:
    """Merge pip's files and variables in pip's order: machine, person, variables."""
    person = Path(variables.get("XDG_CONFIG_HOME") or home / ".config")
    files = [root / "etc/xdg/pip/pip.conf", root / "etc/pip.conf", home / ".pip/pip.conf"]
    files.append(person / "pip/pip.conf")
    if named := variables.get("PIP_CONFIG_FILE"):
        files = [] if named == os.devnull else [*files, Path(named)]
    found: dict[str, str] = {}
    for file in files:
        found |= _pip_file(file)
    for key in _PIP:
        if value := variables.get(f"PIP_{key.upper().replace('-', '_')}"):
            found[key] = value
    return {key: " ".join(value.split()) for key, value in sorted(found.items())}


def _pip_file(file: Path) -> dict[str, str]:
    reader = configparser.RawConfigParser()
    try:
        reader.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return {}  # pip itself would say so; a build goes on without it
    sections = [dict(reader[name]) for name in ("global", "install") if name in reader]
    merged = {k.replace("_", "-"): v for section in sections for k, v in section.items()}
    return {key: value for key, value in merged.items() if key in _PIP and value}


def _npm(variables: Mapping[str, str], home: Path, root: Path) -> dict[str, str]:
    files = [root / "etc/npmrc", root / "usr/etc/npmrc", root / "usr/local/etc/npmrc"]
    lower = {key.lower(): value for key, value in variables.items()}
    files.append(Path(lower.get("npm_config_userconfig") or home / ".npmrc"))
    found: dict[str, str] = {}
    for file in files:
        found |= _npm_file(file)
    for key in _NPM:
        if value := lower.get(f"npm_config_{key.replace('-', '_')}"):
            found[key] = value
    return dict(sorted(found.items()))


def _npm_file(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith(("#", ";")))
    said = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return {
        key: value
        for key, value in said.items()
        if (key in _NPM or re.fullmatch(r"@[\w.-]+:registry", key)) and value and "${" not in value
    }


def _without_passwords(values: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if not _PASSWORD.search(value)}


def _directories(values: Iterable[str]) -> tuple[str, ...]:
    words = [word.removeprefix("file://") for value in values for word in value.split()]
    found = [word for word in words if word.startswith("/") and Path(word).is_dir()]
    return tuple(dict.fromkeys(found))
