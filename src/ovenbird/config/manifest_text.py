"""A first ``ovenbird.yaml``, written for a person who goes on with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ovenbird.domain.beginnings import Beginning, Piece, Started
from ovenbird.domain.packages import BuildKind, BuildSpec

BASE_IMAGE = "debian-12"
NOBODY_YET = "Change Me <change-me@example.com>"
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./+@=-]*(?: [A-Za-z0-9_./+@=-]+)*")
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
_KINDS = {
    BuildKind.PYTHON: "a virtual environment, made to stand at `into`; what pip reads on this\n"
    "    # machine (mirror, certificate) is passed on",
    BuildKind.NODE: "production modules and the app beside them, at `into`",
    BuildKind.BINARY: "the program that `command` makes, put to `into`",
    BuildKind.MAKE: "`make TARGET`",
}


def manifest_text(beginning: Beginning) -> str:
    """Return a manifest with comments, which :func:`load_manifest` reads."""
    return "".join(f"{line}\n" for line in _lines(beginning))


def _lines(beginning: Beginning) -> Iterator[str]:
    yield f"# Written by `ovenbird init` from {beginning.found}; it is yours from now on."
    for note in beginning.notes:
        yield f"# Look at this: {note}."
    yield f"app: {_scalar(beginning.app)}"
    maintainer = beginning.maintainer or NOBODY_YET
    yield f"maintainer: {_scalar(maintainer)}"
    for key in ("description", "homepage", "license"):
        if said := getattr(beginning, key):
            yield f"{key}: {_scalar(said)}"
    yield ""
    yield from _package(beginning)
    yield ""
    yield from _image(beginning)
    yield ""
    yield from _deploy(beginning)


def _package(beginning: Beginning) -> Iterator[str]:
    yield "package:"
    yield "  # The version comes from git: tag releases as v1.2.3."
    if beginning.app.lower().replace("_", "-") != beginning.name:
        yield f"  name: {_scalar(beginning.name)}"
    yield "  formats: [deb]  # also: rpm, apk, archlinux"
    if beginning.architecture == "all":
        yield "  architecture: all  # amd64 or arm64 when something compiled is in it"
    else:
        yield f"  architecture: {beginning.architecture}  # or all, when nothing in it is compiled"
    yield from _build(beginning.build)
    yield "  contents:"
    yield from (f"    - {_piece(piece)}" for piece in beginning.contents)
    if beginning.depends:
        yield f"  depends: [{', '.join(_scalar(one) for one in beginning.depends)}]"
    if beginning.service is not None:
        yield from _service(beginning, beginning.service)


def _build(build: BuildSpec) -> Iterator[str]:
    if build.kind is BuildKind.COMMAND:
        yield "  # Runs in a clean checkout as an account without rights."
        yield from _command(build.command, "  ", "build")
        return
    yield "  build:"
    yield f"    # {_KINDS[build.kind]}"
    yield f"    kind: {build.kind.value}"
    if build.command:
        yield from _command(build.command, "    ", "command")
    if build.kind is BuildKind.PYTHON:
        yield "    # isolation: chroot  # builds with the base image's own Python"
    for key in ("target", "into", "requirements"):
        if said := getattr(build, key):
            yield f"    {key}: {_scalar(said)}"


def _command(command: str, indent: str, key: str) -> Iterator[str]:
    """Write a shell line, or several of them as a block."""
    if "\n" not in command:
        yield f"{indent}{key}: {_scalar(command)}"
        return
    yield f"{indent}{key}: |"
    yield from (f"{indent}  {line}".rstrip() for line in command.splitlines())


def _piece(piece: Piece) -> str:
    kind = f", kind: {piece.kind}" if piece.kind else ""
    return f"{{from: {_scalar(piece.origin)}, to: {_scalar(piece.destination)}{kind}}}"


def _service(beginning: Beginning, service: Started) -> Iterator[str]:
    yield "  services:"
    yield f"    {_scalar(beginning.name)}:"
    yield f"      command: {_scalar(service.command)}"
    yield f"      user: {_scalar(beginning.user)}  # made by the package"
    if service.directory:
        yield f"      working_directory: {_scalar(service.directory)}"
    if service.environment:
        yield f"      environment: {_mapping(service.environment)}"
    if beginning.port < 1024:
        yield "      unit:  # ports below 1024 are root's otherwise"
        yield "        Service: {AmbientCapabilities: CAP_NET_BIND_SERVICE}"


def _image(beginning: Beginning) -> Iterator[str]:
    yield "image:"
    yield f"  base: {BASE_IMAGE}  # a name of `base_images` in the settings"
    if beginning.recipe:
        yield "  recipe:  # done to the base image before the package is installed"
        yield "    - shell:"
        yield from (f"        - {_scalar(line)}" for line in beginning.recipe)


def _deploy(beginning: Beginning) -> Iterator[str]:
    yield "deploy:"
    yield f"  port: {beginning.port}  # where the app answers on each instance, on 0.0.0.0"
    yield "  # The load balancer asks for this path; it must answer 200 when the app is well."
    yield f"  health: {{path: {_scalar(beginning.health)}}}"
    yield "  dev:"
    yield "    capacity: {min: 1, desired: 1, max: 2}"
    yield "    strategy: all_at_once"
    yield "  prod:"
    yield "    capacity: {min: 2, desired: 2, max: 4}"
    yield "    strategy: {canary: {steps_percent: [10, 50], observe_s: 300}}"
    yield "    approval: required  # a person says yes before production"


def _mapping(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in values.items()) + "}"


def _scalar(text: str) -> str:
    """Write one value: plain where YAML takes it as text, in quotes otherwise."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
