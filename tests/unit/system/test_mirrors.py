from __future__ import annotations

import stat
from pathlib import Path

from ovenbird.system.mirrors import Mirrors, hand_over, mirrors_of
from tests import repositories


def read(tmp_path: Path, files: dict[str, str], **variables: str) -> Mirrors:
    repositories.write(tmp_path, files)
    home = str(tmp_path / "home/ann")
    return mirrors_of({"HOME": home, "AWS_SECRET_ACCESS_KEY": "never", **variables}, root=tmp_path)


def test_pip_s_files_and_variables_go_in_pip_s_order(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "etc/pip.conf": "[global]\nindex-url = https://machine.example\ntimeout = 5\n",
            "home/ann/.config/pip/pip.conf": "[global]\nindex_url = https://ann.example\n"
            "extra-index-url =\n    https://one.example\n    https://two.example\n"
            "constraint = /never\n",
        },
        PIP_TIMEOUT="9",
    )

    assert found.environment == {
        "PIP_INDEX_URL": "https://ann.example",
        "PIP_EXTRA_INDEX_URL": "https://one.example https://two.example",
        "PIP_TIMEOUT": "9",
    }


def test_npm_s_files_and_variables_go_in_npm_s_order(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "usr/etc/npmrc": "registry=https://machine.example/\nstrict-ssl = true\n",
            "home/ann/.npmrc": "; a comment\nregistry=https://ann.example/\n"
            "@team:registry = 'https://team.example/'\n"
            "//ann.example/:_authToken=never\n_auth=never\nignore-scripts=true\n"
            "cafile=${HOME}/never\n",
        },
        npm_config_https_proxy="http://proxy.example:3128",
    )

    assert found.npm == {
        "registry": "https://ann.example/",
        "@team:registry": "https://team.example/",
        "strict-ssl": "true",
        "https-proxy": "http://proxy.example:3128",
    }


def test_passwords_stay_here_and_that_is_said(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "etc/pip.conf": "[global]\nindex-url = https://ann:s3cret@machine.example\n",
            "home/ann/.npmrc": "registry=https://t0ken@ann.example/\n",
        },
        https_proxy="http://ann:s3cret@proxy.example",
        http_proxy="http://proxy.example",
    )

    assert (found.environment, found.npm) == ({"http_proxy": "http://proxy.example"}, {})
    assert found.left_out == ("pip's `index-url`", "npm's `registry`", "`$https_proxy`")


def test_no_file_counts_where_pip_was_told_to_read_none(tmp_path: Path) -> None:
    files = {"etc/pip.conf": "[global]\nindex-url = https://machine.example\n"}

    assert read(tmp_path, files, PIP_CONFIG_FILE="/dev/null").environment == {}


def test_files_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pip.conf").write_bytes(b"\xff\xfe[global")
    (tmp_path / "etc/npmrc").mkdir()

    found = read(tmp_path, {"home/ann/.pip/pip.conf": "index-url = x\n"})

    assert (found.environment, found.npm) == ({}, {})


def test_local_directories_are_to_be_seen_inside(tmp_path: Path) -> None:
    wheels, more = tmp_path / "wheels", tmp_path / "more"
    wheels.mkdir()
    more.mkdir()

    found = read(
        tmp_path,
        {"etc/npmrc": f"nodedir={more}\n"},
        PIP_FIND_LINKS=f"{wheels} https://x.example /nowhere",
        PIP_EXTRA_INDEX_URL=f"file://{more}",
    )

    assert set(found.directories) == {str(wheels), str(more)}


def test_a_build_s_home_gets_npm_s_file_and_copies_of_certificates(tmp_path: Path) -> None:
    certificate = repositories.write(tmp_path, {"private/ca.pem": "certificate"}) / "private/ca.pem"
    certificate.chmod(0o600)
    home = tmp_path / "build"
    home.mkdir()
    found = read(
        tmp_path,
        {"etc/npmrc": f"cafile={certificate}\n"},
        PIP_CERT=str(certificate),
        SSL_CERT_FILE=str(certificate),
        CURL_CA_BUNDLE="/nowhere.pem",
    )

    told = hand_over(found, home, seen_at="/mnt/home")

    inside = "/mnt/home/.certificates-0.pem"
    assert (told["PIP_CERT"], told["SSL_CERT_FILE"]) == (inside, inside)
    assert told["CURL_CA_BUNDLE"] == "/nowhere.pem"
    assert told["PIP_CONFIG_FILE"] == "/dev/null"
    assert f"cafile={inside}\n" in (home / ".npmrc").read_text()
    copy = home / ".certificates-0.pem"
    assert (copy.read_text(), stat.S_IMODE(copy.stat().st_mode)) == ("certificate", 0o644)
    assert "AWS_SECRET_ACCESS_KEY" not in told
