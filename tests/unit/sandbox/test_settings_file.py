from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ovenbird.config.settings import Settings, load_settings
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, Places
from ovenbird.sandbox.settings_file import (
    ROLE_ARN,
    Network,
    client_environment,
    settings,
    write_credentials,
    write_settings,
)

URL = "http://127.0.0.1:4599"


def network(account_id: str, address: str) -> Network:
    return Network(
        account_id=account_id,
        vpc_id="vpc-1",
        subnet_ids=("subnet-1", "subnet-2"),
        security_group_id="sg-1",
        listener_arn=f"arn:aws:elasticloadbalancing:eu-west-1:{account_id}:listener/app/x/1/2",
        address=address,
    )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    home = tmp_path / "sandbox"
    home.mkdir()
    return Places(home=home, cache=tmp_path / "cache")


@pytest.fixture
def read(places: Places) -> Settings:
    networks = {
        DEVELOPMENT: network(DEVELOPMENT, "127.4.5.1"),
        PRODUCTION: network(PRODUCTION, "ovenbird-1.eu-west-1.elb.amazonaws.com"),
    }
    content = settings(places, endpoint_url=URL, base_image="debian-12-x", networks=networks)
    write_settings(places.settings, content)
    return load_settings(places.settings)


def test_what_the_sandbox_writes_is_what_the_product_reads(places: Places, read: Settings) -> None:
    assert read.base_images["debian-12"].name == "debian-12-x"
    assert read.environment("dev").account_id == DEVELOPMENT
    assert read.environment("dev").role_arn is None
    assert read.environment("prod").role_arn == ROLE_ARN
    assert read.environment("prod").credentials_file == places.credentials


def test_state_lives_beside_the_sandbox_since_down_removes_its_home(
    places: Places, read: Settings
) -> None:
    assert read.state_directory == places.home.parent / "state"


def test_an_address_that_nobody_resolves_is_not_given_as_a_url(read: Settings) -> None:
    assert read.environment("dev").url == "http://127.4.5.1"
    assert read.environment("prod").url is None


def test_credentials_are_readable_for_their_owner_only(places: Places) -> None:
    write_credentials(places.credentials, {"access_key_id": "AKIA1", "secret_access_key": "s"})

    assert stat.S_IMODE(places.credentials.stat().st_mode) == 0o600
    assert "[ovenbird-sandbox]\naws_access_key_id = AKIA1\n" in places.credentials.read_text()


def test_any_client_is_pointed_at_the_sandbox(places: Places) -> None:
    found = client_environment(places, URL)

    assert found["AWS_ENDPOINT_URL"] == URL
    assert found["OVENBIRD_SETTINGS"] == str(places.settings)
