from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from ovenbird.cli.app import invoke, program
from ovenbird.config.manifest import load_manifest
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.packages import BuildKind, RelationKind
from ovenbird.operations.starting import FirstManifest, first_manifest, write_manifest
from ovenbird.system.commands import run
from tests import repositories


def begun(top: Path, files: Mapping[str, str]) -> tuple[AppSpec, FirstManifest]:
    """Write a repository and its manifest; return what the manifest says."""
    manifest = first_manifest(repositories.write(top, files))
    write_manifest(manifest, replacing=False)
    return load_manifest(top), manifest


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A repository, and what its manifest must say."""

    files: Mapping[str, str]
    app: str
    kind: BuildKind
    command: str
    port: int
    depends: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    into: str = ""
    requirements: str = ""
    target: str = ""


PYTHON, NODE, MAKE = BuildKind.PYTHON, BuildKind.NODE, BuildKind.MAKE
SAMPLES = {
    "a python project with a console script": Sample(
        files=repositories.PYTHON_PROJECT,
        app="hello_web", kind=PYTHON, port=8000, depends=("python3",),
        command="/opt/hello-web/venv/bin/hello-web", into="/opt/hello-web/venv",
        contents=("dist/opt/hello-web/venv",),
    ),
    "requirements with flask and gunicorn": Sample(
        files={
            "requirements.txt": "Flask==3.0\ngunicorn==22.0\n", "app.py": "app = 1\n",
            "templates/index.html": "x", "tests/test_app.py": "x", "README.md": "x",
        },
        app="top", kind=PYTHON, port=8000, depends=("python3",), requirements="requirements.txt",
        command="/opt/top/venv/bin/gunicorn --bind 0.0.0.0:8000 app:app", into="/opt/top/venv",
        contents=("dist/opt/top/venv", "app.py", "templates"),
    ),
    "django without a server": Sample(
        files={
            "requirements.txt": "django\n", "manage.py": "x", "shop/wsgi.py": "x",
            "Dockerfile": "FROM python\nEXPOSE 9000/tcp\n",
        },
        app="top", kind=PYTHON, port=9000, depends=("python3",), requirements="requirements.txt",
        command="/opt/top/venv/bin/python3 manage.py runserver --noreload 0.0.0.0:9000",
        into="/opt/top/venv", contents=("dist/opt/top/venv", "manage.py", "shop"),
    ),
    "a procfile, and pyproject.toml for tools alone": Sample(
        files={
            "pyproject.toml": "[tool.ruff]\nline-length = 100\n", "requirements.txt": "uvicorn\n",
            "web.py": "app = 1\n",
            "Procfile": "worker: x\nweb: LEVEL=info uvicorn --port ${PORT:-5000} web:app\n",
        },
        app="top", kind=PYTHON, port=8000, depends=("python3",), requirements="requirements.txt",
        command="/opt/top/venv/bin/uvicorn --port 8000 web:app", into="/opt/top/venv",
        contents=("dist/opt/top/venv", "web.py"),
    ),
    "a dockerfile's command": Sample(
        files={
            "requirements.txt": "uvicorn\n", "hello/web.py": "app = 1\n", "Dockerfile": "FROM x\n"
            'CMD ["old"]\nCMD ["uvicorn", "hello.web:app", "--port", \\\n  "8123"]\n',
        },
        app="top", kind=PYTHON, port=8123, depends=("python3",), requirements="requirements.txt",
        command="/opt/top/venv/bin/uvicorn hello.web:app --port 8123", into="/opt/top/venv",
        contents=("dist/opt/top/venv", "hello"),
    ),
    "a container's own script says nothing": Sample(
        files={
            "requirements.txt": "x\n", "main.py": "x",
            "Dockerfile": 'ENTRYPOINT ["/entrypoint.sh"]\nEXPOSE 8088\n',
        },
        app="top", kind=PYTHON, port=8088, depends=("python3",), requirements="requirements.txt",
        command="/opt/top/venv/bin/python3 main.py", into="/opt/top/venv",
        contents=("dist/opt/top/venv", "main.py"),
    ),
    "setup.py, started from its sources": Sample(
        files={
            "setup.py": "from setuptools import setup\nsetup(\n    name='old-one',\n)\n",
            "main.py": "x", "Procfile": "web: python main.py && echo done\n",
        },
        app="old_one", kind=PYTHON, port=8000, depends=("python3",), into="/opt/old-one/venv",
        command="/bin/sh -c 'python main.py && echo done'",
        contents=("dist/opt/old-one/venv", "main.py"),
    ),
    "node": Sample(
        files=repositories.NODE_APP,
        app="hello_node", kind=NODE, port=3000, depends=("nodejs",), into="/opt/hello-node",
        command="/usr/bin/node server.js --port 3000", contents=("dist/opt/hello-node",),
    ),
    "node with a framework of its own": Sample(
        files={
            "package.json": '{"name": "site", "scripts": {"start": "next start -p $PORT"}}',
        },
        app="site", kind=NODE, port=3000, depends=("nodejs",), into="/opt/site",
        command="/opt/site/node_modules/.bin/next start -p 3000", contents=("dist/opt/site",),
    ),
    "go with a command": Sample(
        files={
            "go.mod": "module example.com/team/greeter/v2\n\ngo 1.22\n",
            "cmd/other/main.go": "package main", "cmd/greeter/main.go": "package main",
        },
        app="greeter", kind=BuildKind.BINARY, port=8080, command="/usr/bin/greeter",
        into="/usr/bin/greeter", target="build/greeter", contents=("dist/usr/bin/greeter",),
    ),
    "maven": Sample(
        files={"pom.xml": repositories.POM},
        app="hello_java", kind=BuildKind.COMMAND, port=8080, depends=("default-jre-headless",),
        command="/usr/bin/java -jar /opt/hello-java/hello-java.jar",
        contents=("dist/opt/hello-java",),
    ),
    "gradle": Sample(
        files={"build.gradle.kts": "plugins { java }", "gradlew": "x"},
        app="top", kind=BuildKind.COMMAND, port=8080, depends=("default-jre-headless",),
        command="/usr/bin/java -jar /opt/top/top.jar", contents=("dist/opt/top",),
    ),
    "a makefile with dist": Sample(
        files={"Makefile": "VERSION := 1\n.PHONY: dist\ntest:\n\ttrue\ndist:\n\ttrue\n"},
        app="top", kind=MAKE, port=8080, target="dist", command="/opt/top/bin/top",
        contents=("dist",),
    ),
    "a makefile that installs": Sample(
        files={"Makefile": "all:\n\ttrue\ninstall: all\n\tinstall x $(DESTDIR)$(PREFIX)/bin/top\n"},
        app="top", kind=BuildKind.COMMAND, port=8080, command="/usr/bin/top",
        contents=("dist/usr",),
    ),
    "a static site": Sample(
        files={"public/index.html": "x"},
        app="top", kind=BuildKind.COMMAND, port=80, depends=("nginx",), command="",
        contents=("public", "nginx-of-the-site.conf"),
    ),
    "a static site in the root": Sample(
        files={"index.html": "x", "css/a.css": "x", "README.md": "x", ".htaccess": "x"},
        app="top", kind=BuildKind.COMMAND, port=80, depends=("nginx",), command="",
        contents=("css", "index.html", "nginx-of-the-site.conf"),
    ),
    "a site that node builds": Sample(
        files={"package.json": '{"name": "spa", "scripts": {"build": "vite build"}}'},
        app="spa", kind=BuildKind.COMMAND, port=80, depends=("nginx",), command="",
        contents=("dist", "nginx-of-the-site.conf"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_the_manifest_says_how_an_app_is_built_and_started(sample: Sample, tmp_path: Path) -> None:
    spec, manifest = begun(tmp_path / "top", sample.files)

    package, build = spec.package, spec.build
    relations = package.relations.get(RelationKind.DEPENDS, ())
    assert Sample(
        files=sample.files, app=spec.app, kind=build.kind, port=spec.port, into=build.into,
        requirements=build.requirements, target=build.target,
        command=" ".join(service.command for service in package.services),
        depends=tuple(atom.name for relation in relations for atom in relation.atoms),
        contents=tuple(content.origin for content in package.contents),
    ) == sample  # fmt: skip
    assert manifest.app == sample.app
    assert [environment.name for environment in spec.environments] == ["dev", "prod"]
    assert all(service.user not in {"", "root"} for service in package.services)


def test_what_metadata_says_is_taken_over(tmp_path: Path) -> None:
    python, _ = begun(tmp_path / "python", repositories.PYTHON_PROJECT)
    node, _ = begun(tmp_path / "node", repositories.NODE_APP)

    package = python.package
    assert (package.description, package.license) == ("Says: hello", "MIT")
    assert (package.maintainer, package.homepage) == (
        "Ann <ann@example.com>",
        "https://hello.example",
    )
    assert node.package.maintainer == "Ann <ann@example.com>"
    assert dict(node.package.services[0].environment) == {
        "NODE_ENV": "production", "PORT": "3000", "LEVEL": "info",
    }  # fmt: skip


def test_the_maintainer_is_who_committed_last_when_nothing_else_is_known(tmp_path: Path) -> None:
    top = repositories.write(tmp_path / "top", {"index.html": "x"})
    person = [
        f"-c user.{key}={value}" for key, value in (("name", "Bo"), ("email", "bo@b.example"))
    ]
    run(["git", "init", "--quiet", top], timeout_s=20)
    run(["git", "-C", top, "add", "--all"], timeout_s=20)
    words = [word for pair in person for word in pair.split(" ", 1)]
    run(["git", "-C", top, *words, "commit", "--quiet", "--message", "x"], timeout_s=20)

    assert 'maintainer: "Bo <bo@b.example>"\n' in first_manifest(top).text


def test_what_nobody_knows_is_said(tmp_path: Path) -> None:
    manifest = first_manifest(repositories.write(tmp_path / "top", {"index.html": "x"}))

    assert "Nobody is known as `maintainer`" in manifest.notes
    assert "# Look at this: Nobody is known as `maintainer`.\n" in manifest.text


@pytest.mark.parametrize(
    ("build_file", "wrapper", "folder"),
    [("pom.xml", "mvnw", "target"), ("build.gradle", "gradlew", "build/libs")],
)
def test_the_jar_that_runs_is_taken(
    build_file: str, wrapper: str, folder: str, tmp_path: Path
) -> None:
    jars = "hello-1.0.jar hello-1.0-sources.jar hello-1.0-javadoc.jar hello-1.0-plain.jar"
    script = f"#!/bin/sh\nmkdir -p {folder}\ncd {folder}\nfor j in {jars}; do echo $j >$j; done\n"
    files = {build_file: repositories.POM, wrapper: script}
    top = repositories.write(tmp_path / "hello-java", files)
    (top / wrapper).chmod(0o755)

    spec = begun(top, {})[0]
    run(["sh", "-e", "-c", spec.build.command], timeout_s=20, cwd=top)

    made = [path for path in (top / "dist").rglob("*") if path.is_file()]
    assert made == [top / "dist/opt/hello-java/hello-java.jar"]
    assert made[0].read_text() == "hello-1.0.jar\n"


def test_a_site_s_build_writes_the_server_s_configuration(tmp_path: Path) -> None:
    spec, _ = begun(tmp_path / "top", {"public/index.html": "x"})

    run(["sh", "-e", "-c", spec.build.command], timeout_s=20, cwd=tmp_path)

    assert (tmp_path / "nginx-of-the-site.conf").read_text() == (
        "server {\n  listen 80 default_server;\n  root /srv/top;\n"
        '  location = /healthz { return 200 "ok\\n"; }\n}\n'
    )
    destinations = [content.destination for content in spec.package.contents]
    assert destinations == ["/srv/top", "/etc/nginx/conf.d/top.conf"]


@pytest.mark.parametrize(
    ("text", "architecture"),
    [("dist:\n\t$(CC) -o x x.c\n", "amd64"), ("dist:\n\tcp a b\n", "all")],
)
def test_a_makefile_that_compiles_is_for_a_machine(
    text: str, architecture: str, tmp_path: Path
) -> None:
    spec, manifest = begun(tmp_path / "top", {"Makefile": text})

    assert spec.package.architecture == architecture
    assert any("Makefile does not say" in note for note in manifest.notes)


def test_a_low_port_needs_a_capability(tmp_path: Path) -> None:
    files = {"requirements.txt": "flask\n", "app.py": "x", "Dockerfile": "EXPOSE 80\n"}

    spec, _ = begun(tmp_path / "top", files)

    unit = spec.package.services[0].overrides
    assert unit["Service"]["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"


@pytest.mark.parametrize("files", [{}, {"notes.txt": "x"}, {"package.json": "[1"}, {"go.mod": ""}])
def test_a_directory_that_shows_nothing_is_said_so(
    files: Mapping[str, str], tmp_path: Path
) -> None:
    top = repositories.write(tmp_path / "top", files)
    top.mkdir(exist_ok=True)

    with pytest.raises(NotFound, match=r"Nothing in .* says how the app is built") as caught:
        first_manifest(top)
    assert "pyproject.toml" in caught.value.hint


@pytest.mark.parametrize("name", ["Ünï cödé", "yes", "9lives", "-", "a", "UPPER_case.v2", "null"])
def test_any_directory_s_name_makes_a_manifest_that_can_be_read(name: str, tmp_path: Path) -> None:
    spec, _ = begun(tmp_path / name, {"requirements.txt": "x\n", "main.py": "x"})

    assert len(spec.package.name) >= 2


def test_a_manifest_that_is_there_stays(tmp_path: Path) -> None:
    top = repositories.write(tmp_path / "top", {"index.html": "x", "ovenbird.yaml": "mine"})
    manifest = first_manifest(top)

    with pytest.raises(Conflict, match="exists already") as caught:
        write_manifest(manifest, replacing=False)
    assert ((top / "ovenbird.yaml").read_text(), caught.value.hint) == (
        "mine",
        "Add `--force` to write it anew",
    )

    write_manifest(manifest, replacing=True)
    assert load_manifest(top).app == "top"
    assert sorted(path.name for path in top.iterdir()) == ["index.html", "ovenbird.yaml"]


def test_the_command_prints_writes_and_answers(tmp_path: Path) -> None:
    top = repositories.write(tmp_path / "top", {"index.html": "x"})
    runner = CliRunner()

    shown = runner.invoke(program, ["init", str(top), "--dry-run"])
    assert shown.stdout.startswith("# Written by `ovenbird init` from index.html")
    assert not (top / "ovenbird.yaml").exists()

    told = json.loads(runner.invoke(program, ["init", str(top), "--json"]).stdout)
    assert (told["app"], told["kind"], told["written"]) == ("top", "command", True)
    assert (top / "ovenbird.yaml").read_text() == told["text"] == shown.stdout
    assert invoke(program, ["init", str(top)]) == 4
    assert invoke(program, ["init", str(top), "--force"]) == 0
