from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovenbird.cli.app import invoke, program
from ovenbird.packaging.keys.gnupg import Gnupg
from ovenbird.packaging.keys.signing import SigningKey

SETTINGS = """\
state_directory: {home}/state
repository: {{directory: {home}/repository, signing_key: {home}/keys}}
bake_environment: dev
environments:
  dev: {{account_id: "111111111111", region: eu-west-1, vpc_id: vpc-1, subnet_ids: [subnet-1]}}
"""
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Ask:
    """Run `ovenbird key ...`; return status, stdout and stderr."""
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS.format(home=tmp_path))

    def run(*words: str) -> tuple[int, str, str]:
        status = invoke(program, ["--settings", str(file), "key", *words])
        captured = capfdbinary.readouterr()
        return status, captured.out.decode("utf-8", "replace"), captured.err.decode()

    return run


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    key = SigningKey(tmp_path / "keys", algorithm="ed25519")
    key.ensure()
    return key


def asked(ask: Ask, *words: str) -> Any:
    status, out, err = ask(*words, "--json")
    assert (status, err.count("error")) == (0, 0)
    return json.loads(out)


def test_a_look_makes_no_key(ask: Ask, tmp_path: Path) -> None:
    status, out, _ = ask("show")

    assert (status, out.split()[0]) == (0, "fingerprint")
    assert asked(ask, "show") == {
        "home": str(tmp_path / "keys"),
        "public_keys": str(tmp_path / "keys/public.gpg"),
        "keys": [],
    }
    assert not (tmp_path / "keys").exists()


def test_a_rotation_from_the_first_step_to_the_last(ask: Ask, key: SigningKey) -> None:
    old = key.fingerprint()
    status, planned, _ = ask("rotate", "--dry-run")
    assert (status, old in planned, "Make a new signing key" in planned) == (0, True, True)
    assert key.fingerprints() == (old,)
    assert asked(ask, "rotate", "--dry-run")["actions"][0].startswith("Make a new")

    done = asked(ask, "rotate", "--yes")
    new = done["fingerprint"]
    assert [(one["fingerprint"], one["role"]) for one in done["keys"]] == [
        (old, "signs"),
        (new, "signs"),
    ]
    assert ask("rotate", "--yes")[0] == 4

    assert f"Sign with `{new}` alone" in ask("retire", "--dry-run")[1]
    assert key.fingerprints() == (old, new)
    assert ask("retire", "--yes")[:2] == (0, f"{old}\n")
    assert key.fingerprints() == (new,)
    status, out, err = ask("retire", "--yes")
    assert (status, out) == (4, "")
    assert "no second key" in err
    assert [line.split()[1] for line in ask("show")[1].splitlines()[1:3]] == ["retired", "signs"]


def test_nothing_changes_without_a_confirmation(ask: Ask, key: SigningKey) -> None:
    before = key.list_keys()
    status, _, err = ask("rotate")

    assert status == 2
    assert "Add `--yes`" in err
    assert key.list_keys() == before


def test_a_lost_key_is_replaced(ask: Ask, key: SigningKey) -> None:
    old = key.fingerprint()
    for path in key.home.glob("private-keys-v1.d/*"):
        path.unlink()
    status, out, _ = ask("show")
    assert (status, "its secret half is not here" in out) == (0, True)
    assert ask("export")[0] == 3

    status, new, err = ask("rotate", "--lost", old.lower(), "--yes")
    assert (status, f"Give up `{old}`" in err) == (0, True)
    assert key.fingerprints() == (new.strip(),)
    key.check([old])


def test_a_key_from_a_file_signs_and_its_public_half_is_exported(
    ask: Ask, key: SigningKey, tmp_path: Path
) -> None:
    other = SigningKey(tmp_path / "other", algorithm="ed25519")
    theirs, file = other.fingerprint(), tmp_path / "secret.key"
    Gnupg(other.home).run("--output", file, "--export-secret-keys")
    mine = key.fingerprint()

    assert theirs in ask("import", str(file), "--dry-run")[1]
    assert key.fingerprints() == (mine,)
    assert ask("import", str(file), "--yes")[:2] == (0, f"{theirs}\n")
    assert key.fingerprints() == (mine, theirs)
    assert ask("import", str(tmp_path / "none"), "--yes")[0] == 3
    assert ask("export", "--armor")[1].startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    assert asked(ask, "export")["public_keys"] == ask("export", "--armor")[1]
    assert ask("export")[1] == key.ensure().read_bytes().decode("utf-8", "replace")


def test_an_error_is_one_json_document(ask: Ask) -> None:
    status, out, _ = ask("retire", "--yes", "--json")

    assert (status, json.loads(out)["error"]) == (4, "Conflict")
