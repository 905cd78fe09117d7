"""How a Python app is built and started, as its repository shows it.

Source: PyPA's guide, "Writing your pyproject.toml"; Poetry's documentation, "pyproject.toml".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ovenbird.domain.beginnings import Beginning, Piece, Started, package_name, started
from ovenbird.domain.packages import BuildKind, BuildSpec
from ovenbird.packaging.building import hints
from ovenbird.packaging.building.builders import is_python_project

MODULES = ("app.py", "main.py", "server.py", "wsgi.py", "asgi.py")
PORT, FLASK_PORT = 8000, 5000
_SCRIPT = re.compile(r"""["']?([\w.-]+)\s*=\s*[\w.]+:\w+""")
_NOT_SHIPPED = {
    "tests", "test", "docs", "doc", "venv", "env", "dist", "build", "node_modules", "scripts",
    "setup.py", "conftest.py", "noxfile.py", "__pycache__", "examples",
}  # fmt: skip


def recognize(top: Path) -> Beginning | None:
    """Return how a Python app begins, or None."""
    has_project = is_python_project(top)
    requirements = "requirements.txt" if (top / "requirements.txt").is_file() else ""
    if not has_project and not requirements:
        return None
    found = "requirements.txt"
    if has_project:
        found = "pyproject.toml" if (top / "pyproject.toml").is_file() else "setup.py"
    about = _metadata(top)
    name = package_name(about.get("name", "") or top.name)
    place = f"/opt/{name}"
    needed = _needed(top, about)
    port = hints.said_port(top) or (FLASK_PORT if _runs_flask(needed) else PORT)
    line, notes = _line(top, port, about=about, needed=needed)
    ships = not has_project or _is_started_from_sources(top, line)
    directory = f"{place}/app" if ships else ""
    return Beginning(
        name=name,
        found=found,
        build=BuildSpec(
            kind=BuildKind.PYTHON,
            into=f"{place}/venv",
            requirements=requirements if _counts(top, requirements, has_project) else "",
        ),
        contents=(
            Piece(origin=f"dist{place}/venv/", destination=f"{place}/venv"),
            *(_sources(top, directory) if ships else ()),
        ),
        service=_placed(line, f"{place}/venv/bin", port, directory),
        port=port,
        description=about.get("description", ""),
        homepage=about.get("homepage", ""),
        license=about.get("license", ""),
        maintainer=about.get("maintainer", ""),
        architecture="amd64",
        depends=("python3",),
        notes=notes,
    )


def _counts(top: Path, requirements: str, has_project: bool) -> bool:  # noqa: FBT001 - a fact
    """Tell whether requirements pin more than the project's own metadata says."""
    return bool(requirements) and (not has_project or "==" in hints.text(top / requirements))


def _metadata(top: Path) -> dict[str, Any]:
    """Return what the project says of itself: PEP 621's table, or Poetry's, or setup.py's."""
    whole = hints.toml_of(top / "pyproject.toml")
    project = hints.table(whole, "project")
    poetry = hints.table(whole, "tool", "poetry")
    raw = project or poetry
    urls = hints.table(project, "urls")
    setup = hints.text(top / "setup.py") + hints.text(top / "setup.cfg")
    name = hints.word(raw.get("name")) or _said(setup, "name")
    return {
        "name": name,
        "description": hints.word(raw.get("description")) or _said(setup, "description"),
        "homepage": hints.word(urls.get("Homepage") or urls.get("homepage"))
        or hints.word(poetry.get("homepage")),
        "license": hints.word(raw.get("license"))
        or hints.word(hints.table(raw, "license").get("text")),
        "maintainer": _author(raw.get("authors")),
        "scripts": tuple(hints.table(raw, "scripts")) or tuple(_SCRIPT.findall(_scripts(setup))),
        "dependencies": str(raw.get("dependencies", "")),
    }


def _said(setup: str, key: str) -> str:
    found = re.search(rf"""^\s*{key}\s*=\s*["']?([^"'\n,()]+)["']?\s*,?\s*$""", setup, re.MULTILINE)
    return found[1].strip() if found else ""


def _scripts(setup: str) -> str:
    """Return the part of setup.py or setup.cfg that lists console scripts."""
    _, begins, rest = setup.partition("console_scripts")
    return rest.split("]")[0].split("\n[")[0].split("\n\n")[0] if begins else ""


def _author(raw: Any) -> str:
    first = raw[0] if isinstance(raw, list) and raw else ""
    if isinstance(first, str):
        return first if re.fullmatch(r"[^<>]+ <[^<>@\s]+@[^<>\s]+>", first) else ""
    name, email = hints.word(first.get("name")), hints.word(first.get("email"))
    return f"{name} <{email}>" if name and email else ""


def _needed(top: Path, about: dict[str, Any]) -> set[str]:
    """Return the names of what the app needs, lower case; good enough to know a framework."""
    said = f"{hints.text(top / 'requirements.txt')}\n{about['dependencies']}"
    return {name.lower() for name in re.findall(r"[A-Za-z][A-Za-z0-9_.-]+", said)}


def _runs_flask(needed: set[str]) -> bool:
    return "flask" in needed and not {"gunicorn", "uvicorn"} & needed


def _line(
    top: Path, port: int, *, about: dict[str, Any], needed: set[str]
) -> tuple[str, tuple[str, ...]]:
    """Return the line that starts the app: what the repository says, or its framework's."""
    if line := hints.start_line(top):
        return line, ()
    if scripts := about["scripts"]:
        own = (name for name in scripts if package_name(name) == package_name(about["name"]))
        return next(own, scripts[0]), ()
    if (top / "manage.py").is_file():
        return _django(top, port, needed)
    module = next((name[:-3] for name in MODULES if (top / name).is_file()), "")
    return _by_server(module, port, needed) if module else _by_package(top)


def _by_package(top: Path) -> tuple[str, tuple[str, ...]]:
    found = [*sorted(top.glob("*/__main__.py")), *sorted(top.glob("src/*/__main__.py"))]
    if found:
        return f"python3 -m {found[0].parent.name}", ()
    return "python3 -m app", ("Nothing says how the app is started: mend `command`",)


def _is_started_from_sources(top: Path, line: str) -> bool:
    """Tell whether a start line names a file or module that lies in the repository's root."""
    words = re.findall(r"[\w./-]+", line.replace(":", " "))
    return any((top / word).suffix == ".py" and (top / word).is_file() for word in words) or any(
        (top / f"{word.replace('.', '/')}.py").is_file() for word in words
    )


def _django(top: Path, port: int, needed: set[str]) -> tuple[str, tuple[str, ...]]:
    site = next((p.parent.name for p in sorted(top.glob("*/wsgi.py"))), "app")
    if "gunicorn" in needed:
        return f"gunicorn --bind 0.0.0.0:{port} {site}.wsgi:application", ()
    note = "Django's `runserver` is for development: add `gunicorn` to what is installed"
    return f"python3 manage.py runserver --noreload 0.0.0.0:{port}", (note,)


def _by_server(module: str, port: int, needed: set[str]) -> tuple[str, tuple[str, ...]]:
    if "uvicorn" in needed:
        return f"uvicorn --host 0.0.0.0 --port {port} {module}:app", ()
    if "gunicorn" in needed:
        return f"gunicorn --bind 0.0.0.0:{port} {module}:app", ()
    if "flask" in needed:
        note = "Flask's own server is for development: add `gunicorn` to what is installed"
        return f"python3 -m flask --app {module} run --host 0.0.0.0 --port {port}", (note,)
    return f"python3 {module}.py", ()


def _placed(line: str, programs: str, port: int, directory: str) -> Started:
    def program(word: str) -> str:
        plain = {"python": "python3"}.get(word, word)
        return plain if plain.startswith("/") else f"{programs}/{plain}"

    return started(line, program=program, port=port, directory=directory)


def _sources(top: Path, destination: str) -> tuple[Piece, ...]:
    """Return the app's own files, for what pip does not install."""
    pieces = []
    for path in sorted(top.iterdir()):
        name = path.name
        if name in _NOT_SHIPPED or name.startswith(".") or " " in name or name.endswith("egg-info"):
            continue
        if path.is_dir():
            pieces.append(Piece(origin=f"{name}/", destination=f"{destination}/{name}"))
        elif path.suffix == ".py":
            pieces.append(Piece(origin=name, destination=f"{destination}/{name}"))
    return tuple(pieces)
