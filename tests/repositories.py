"""Small repositories of apps of many kinds, as people have them: path → text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["packaging"]

[project]
name = "Hello_Web"
version = "1.0"
description = "Says: hello"
license = {text = "MIT"}
authors = [{name = "Ann", email = "ann@example.com"}]
urls = {Homepage = "https://hello.example"}

[project.scripts]
other = "hello_web:main"
hello-web = "hello_web:main"
"""
# A build backend without any dependency: what it builds is a wheel of the package as it is.
BACKEND = """\
import pathlib
import zipfile

INFO = "hello_web-1.0.dist-info"
FILES = {
    f"{INFO}/METADATA": "Metadata-Version: 2.1\\nName: hello-web\\nVersion: 1.0\\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\\nhello-web = hello_web:main\\n",
}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "hello_web-1.0-py3-none-any.whl"
    files = dict(FILES)
    for path in sorted(pathlib.Path("hello_web").glob("*.py")):
        files[str(path)] = path.read_text()
    lines = [f"{path},," for path in files] + [f"{INFO}/RECORD,,"]
    files[f"{INFO}/RECORD"] = "\\n".join(lines) + "\\n"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
    return name
"""
HELLO_WEB = """\
import sys


def main():
    print("hello", sys.prefix, __file__)
"""
POM = """\
<project>
  <parent><groupId>p</groupId><artifactId>parent-of-all</artifactId></parent>
  <groupId>org.example</groupId>
  <artifactId>Hello_Java</artifactId>
  <description>Says
    hello</description>
  <dependencies>
    <dependency><artifactId>not-this</artifactId></dependency>
  </dependencies>
</project>
"""
NODE = {
    "name": "@example/hello-node",
    "version": "1.0.0",
    "description": "Says hello",
    "license": "MIT",
    "author": "Ann <ann@example.com> (https://ann.example)",
    "scripts": {"start": "LEVEL=info node server.js --port $PORT"},
    "dependencies": {"greet": "file:lib/greet"},
    "devDependencies": {"never": "file:lib/never"},
}
NODE_LOCK = {
    "name": "@example/hello-node",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "requires": True,
    "packages": {
        "": {
            "name": "@example/hello-node",
            "version": "1.0.0",
            "dependencies": {"greet": "file:lib/greet"},
            "devDependencies": {"never": "file:lib/never"},
        },
        "lib/greet": {"version": "1.0.0"},
        "lib/never": {"version": "1.0.0", "dev": True},
        "node_modules/greet": {"resolved": "lib/greet", "link": True},
        "node_modules/never": {"resolved": "lib/never", "link": True},
    },
}
SERVER_JS = 'console.log(require("greet")("node"), __dirname, process.argv.slice(2));\n'

PYTHON_PROJECT: Mapping[str, str] = {
    "pyproject.toml": PYPROJECT,
    "packaging/backend.py": BACKEND,
    "hello_web/__init__.py": HELLO_WEB,
}
NODE_APP: Mapping[str, str] = {
    "package.json": json.dumps(NODE),
    "package-lock.json": json.dumps(NODE_LOCK),
    "server.js": SERVER_JS,
    "lib/greet/package.json": '{"name": "greet", "version": "1.0.0"}',
    "lib/greet/index.js": "module.exports = name => `hello ${name}`;\n",
    "lib/never/package.json": '{"name": "never", "version": "1.0.0"}',
    ".npmrc": "//registry.example/:_authToken=never\n",
    ".env": "SECRET=never\n",
    ".gitignore": "node_modules\n",
}


def write(top: Path, files: Mapping[str, str]) -> Path:
    """Write a repository's files and return its directory."""
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top
