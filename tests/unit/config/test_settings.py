from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovenbird.config.settings import find_settings, load_settings, state_home
from ovenbird.domain.errors import InvalidRequest, NotFound

SETTINGS = """\
state_directory: /var/lib/ovenbird
repository: {name: main, channel: candidate, directory: /srv/repository, signing_key: /srv/keys}
base_images: {debian-12: {name: debian-12-amd64-1234}}
bake_environment: dev
judge: {period_s: 10}
environments:
  dev:
    account_id: "111111111111"
    region: eu-west-1
    endpoint_url: "http://127.0.0.1:4599"
    credentials_file: /srv/credentials
    profile: ovenbird-sandbox
    role_arn: null
    vpc_id: vpc-1
    subnet_ids: [subnet-1, subnet-2]
    security_group_ids: [sg-1]
    listener_arn: "arn:aws:elasticloadbalancing:eu-west-1:111111111111:listener/app/a/b/c"
    url: "http://127.0.0.2"
  prod: {account_id: "222222222222", region: eu-west-1, vpc_id: vpc-2, subnet_ids: [subnet-3]}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(SETTINGS)
    return path


def test_settings_are_read(path: Path) -> None:
    settings = load_settings(path)

    assert settings.state_directory == Path("/var/lib/ovenbird")
    assert settings.base_images["debian-12"].name == "debian-12-amd64-1234"
    assert settings.judge.period_s == 10
    assert list(settings.environments) == ["dev", "prod"]
    assert settings.environment("dev").subnet_ids == ("subnet-1", "subnet-2")
    assert settings.environment("prod").endpoint_url is None


@pytest.mark.parametrize(
    "given",
    [
        {"name": "debian-*", "owner": "136693071363"},
        {"id": "ami-0c2f9e1b7d3a45860", "owner": "amazon"},
        {"parameter": "/aws/service/debian/release/12/latest/amd64", "architecture": "x86_64"},
        {"tags": {"role": "base"}, "owner": "self"},
    ],
)
def test_a_base_image_is_found_in_one_of_four_ways(path: Path, given: dict[str, str]) -> None:
    path.write_text(SETTINGS.replace("{name: debian-12-amd64-1234}", json.dumps(given)))

    found = load_settings(path).base_images["debian-12"]

    assert found.model_dump(exclude_unset=True) == given


def test_retention_is_generous_unless_it_is_said_otherwise(path: Path) -> None:
    given = "retention: {keep_last: 5, channels: {release: {keep_last: 9, keep_days: 10}}}\n"
    found = load_settings(path).retention
    path.write_text(SETTINGS + given)
    own = load_settings(path).retention

    assert (found.keep_last, found.keep_days, found.state_days) == (20, 90, 7)
    assert (own.keep_last, own.keep_days, own.channels["release"].keep_last) == (5, 90, 9)


def test_an_environment_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(NotFound, match="No environment `stage`") as caught:
        load_settings(path).environment("stage")

    assert caught.value.hint == "There are `dev`, `prod`"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("vpc_id: vpc-1", "vpcid: vpc-1", "settings.yaml:14: `environments.dev.vpcid`: unknown"),
        ('"111111111111"', "111111111111", "settings.yaml:8: `environments.dev.account_id`"),
        ("directory: /srv", "directory: srv", "must be an absolute path"),
        ("bake_environment: dev", "bake_environment: den", "but the environments are `dev`"),
        ("judge:", "jugde:", "settings.yaml:5: `jugde`: unknown key; did you mean `judge`?"),
        ("judge: {", "retention: {keep_last: 0}\njudge: {", "`retention.keep_last`"),
        ("period_s: 10", "period_s: 45", "AWS takes 10, 20, 30, or a multiple of 60"),
        ("judge: {period_s: 10}", "login: {}", "`login` is known but not built yet"),
        ("{name: debian-12-amd64-1234}", "{names: x}", "did you mean `name`?"),
        ("{name: debian-12-amd64-1234}", "{}", "exactly one of `name`, `id`, `parameter`, `tags`"),
        ("{name: debian-12-amd64-1234}", "{name: x, id: ami-11111111}", "not by `name` and `id`"),
        ("{name: debian-12-amd64-1234}", "{id: debian}", "`base_images.debian-12.id`"),
        ("{name: debian-12-amd64-1234}", "{name: debian-*}", "must say its `owner`"),
        ("{name: debian-12-amd64-1234}", "{name: x, owner: debian}", "debian-12.owner`"),
        ("{name: debian-12-amd64-1234}", "{name: x, architecture: amd64}", "architecture`"),
        ("judge: {", "images: {key: x}\njudge: {", "`images.key`: unknown key"),
        ("judge: {", "rebake: {every: 1}\njudge: {", "did you mean `every_h`?"),
        ("judge: {", "rebake: {every_h: 0}\njudge: {", "`rebake.every_h`"),
        ("vpc_id: vpc-1", "images: shared\n    vpc_id: vpc-1", "`environments.dev.images`"),
        ("judge: {", "builders: {ssh: ssm}\njudge: {", "`builders.ssh`: unknown key"),
        ("judge: {", "builders: {ssh_from: here}\njudge: {", "must be a CIDR block"),
        ("judge: {", "builders: {address: public}\njudge: {", "must say `ssh_from`"),
        ("judge: {", "builders: {open_to: [mirror]}\njudge: {", "`builders.open_to[0]`"),
    ],
)
def test_a_mistake_is_named_with_its_line(path: Path, old: str, new: str, words: str) -> None:
    assert old in SETTINGS
    path.write_text(SETTINGS.replace(old, new))

    with pytest.raises(InvalidRequest) as caught:
        load_settings(path)
    assert words in str(caught.value)


def test_settings_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OVENBIRD_SETTINGS", raising=False)
    monkeypatch.setenv("OVENBIRD_HOME", str(tmp_path))
    with pytest.raises(InvalidRequest, match="No settings"):
        find_settings()
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox/settings.yaml").touch()

    assert find_settings() == tmp_path / "sandbox/settings.yaml"
    (tmp_path / "settings.yaml").touch()
    assert find_settings() == tmp_path / "settings.yaml"
    monkeypatch.setenv("OVENBIRD_SETTINGS", "/elsewhere.yaml")
    assert find_settings() == Path("/elsewhere.yaml")
    assert find_settings(Path("/named.yaml")) == Path("/named.yaml")


def test_the_state_home_is_a_real_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("OVENBIRD_HOME", str(tmp_path / "link/state"))

    assert state_home() == tmp_path.resolve() / "real/state"
