from __future__ import annotations

import base64
import csv
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovenbird.packaging.building import relocation

INTO = "/opt/hello/venv"
NAME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
INFO = "hello-1.0.dist-info"


def digest(data: bytes) -> str:
    raw = hashlib.sha256(data).digest()
    return f"sha256={base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


def installed(checkout: Path, *, first_line: str = "") -> Path:
    """Make an environment with what pip would have put into it; return its directory."""
    tree = checkout / "dist/opt/hello/venv"
    relocation.prepare(tree, INTO, "/usr/bin/python3")
    site = tree / "lib" / NAME / "site-packages"
    script = (first_line or f"#!{tree}/bin/python3\n") + "import hello\n"
    files = {
        "hello/__init__.py": "NAMES = {'a', 'b'}\n",
        "hello/__pycache__/old.cpython-311.pyc": "old",
        "hello/template.py": "not python {{ at all }}\n",
        f"{INFO}/direct_url.json": f'{{"url": "file://{checkout}", "dir_info": {{}}}}',
        f"{INFO}/METADATA": "Name: hello\n",
        "../../../bin/hello": script,
        "hello.pth": f"{tree}/lib/more\n",
    }
    for name, text in files.items():
        path = Path(os.path.normpath(site / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rows = [[name, digest(text.encode()), str(len(text))] for name, text in files.items()]
    with (site / INFO / "RECORD").open("w", newline="") as file:
        csv.writer(file).writerows([*reversed(rows), [f"{INFO}/RECORD", "", ""]])
    (tree / "bin/activate").write_text(f"VIRTUAL_ENV={tree}\n")
    return tree


def everything(tree: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(tree)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_settled_environment_says_only_where_it_will_stand(tmp_path: Path) -> None:
    tree = installed(tmp_path)

    assert relocation.settle(tree, INTO, str(tmp_path)) == []

    found = everything(tree)
    assert found["bin/hello"] == b"#!/opt/hello/venv/bin/python3\nimport hello\n"
    assert found["bin/python3"] == "/usr/bin/python3"
    assert found["bin/python"] == "python3"
    assert "home = /usr/bin\n" in (tree / "pyvenv.cfg").read_text()
    assert found[f"lib/{NAME}/site-packages/hello.pth"] == b"/opt/hello/venv/lib/more\n"
    gone = {"activate", "direct_url.json", "old.cpython-311.pyc"}
    assert not gone & {Path(name).name for name in found}
    (compiled,) = (tree / f"lib/{NAME}/site-packages/hello/__pycache__").glob("__init__.*.pyc")
    data = compiled.read_bytes()
    assert data[4:8] == b"\x01\0\0\0"  # PEP 552: by digest, not checked
    assert f"{INTO}/lib/{NAME}/site-packages/hello/__init__.py".encode() in data


def test_the_list_of_installed_files_is_true_and_sorted(tmp_path: Path) -> None:
    tree = installed(tmp_path)

    relocation.settle(tree, INTO, str(tmp_path))

    site = tree / "lib" / NAME / "site-packages"
    with (site / INFO / "RECORD").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [name for name, _, _ in rows] == [
        "../../../bin/hello", f"{INFO}/METADATA", f"{INFO}/RECORD", "hello.pth",
        "hello/__init__.py", "hello/template.py",
    ]  # fmt: skip
    for name, said, size in rows:
        if said:
            data = Path(os.path.normpath(site / name)).read_bytes()
            assert (said, int(size)) == (digest(data), len(data))


def test_it_is_the_same_wherever_it_was_made(tmp_path: Path) -> None:
    one, two = tmp_path / "a", tmp_path / "quite/another/directory"
    for place in (one, two):
        tree = installed(place)
        program: list[str | Path] = [
            sys.executable,
            relocation.__file__,
            "settle",
            tree,
            INTO,
            place,
        ]
        subprocess.run(program, check=True, env={"PYTHONHASHSEED": "0"})  # noqa: S603 - our own

    assert everything(one / "dist") == everything(two / "dist")


def test_a_first_line_that_was_too_long_is_written_as_any_other(tmp_path: Path) -> None:
    tree = tmp_path / "dist/opt/hello/venv"
    long = f"#!/bin/sh\n'''exec' {tree}/bin/python3 \"$0\" \"$@\"\n' '''\n"

    relocation.settle(installed(tmp_path, first_line=long), INTO, str(tmp_path))

    assert (tree / "bin/hello").read_text() == "#!/opt/hello/venv/bin/python3\nimport hello\n"


def test_what_still_says_the_checkout_is_told(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / "lib/compiled.so").write_bytes(b"\0" + str(tmp_path).encode())

    assert relocation.settle(tree, INTO, str(tmp_path)) == ["lib/compiled.so"]


def test_what_is_installed_in_editable_mode_is_refused(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / "lib" / NAME / "site-packages/mine.pth").write_text(f"{tmp_path}/src\n")

    with pytest.raises(ValueError, match="drop `-e`"):
        relocation.settle(tree, INTO, str(tmp_path))


def test_an_environment_is_made_anew(tmp_path: Path) -> None:
    tree = installed(tmp_path)

    relocation.prepare(tree, INTO, "/usr/bin/python3")

    assert sorted(everything(tree)) == ["bin/python", "bin/python3", "lib64", "pyvenv.cfg"]
