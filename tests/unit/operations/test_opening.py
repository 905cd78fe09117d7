from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound
from ovenbird.domain.images import BaseSource
from ovenbird.domain.names import ClusterName
from ovenbird.operations.doors import await_answer, endpoints
from ovenbird.operations.opening import Installation

SETTINGS = """\
state_directory: {home}/state
repository: {{directory: {home}/repository, signing_key: {home}/keys}}
base_images: {{debian-12: {{name: debian-12-amd64}}}}
bake_environment: dev
judge: {{period_s: 1}}
environments:
  dev: &dev
    account_id: "111111111111"
    region: eu-west-1
    endpoint_url: {url}
    credentials_file: {home}/credentials
    profile: there
    vpc_id: vpc-1
    subnet_ids: [subnet-1]
    listener_arn: {listener}
  prod:
    <<: *dev
    account_id: "222222222222"
    role_arn: arn:aws:iam::222222222222:role/deploy
"""
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:1:listener/app/a/b/c"


@pytest.fixture
def answering() -> Iterator[str]:
    """A port of this host where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent() -> str:
    """A port of this host where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def installation(home: Path, url: str, listener: str = LISTENER) -> Installation:
    (home / "credentials").write_text(
        "[there]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = s\n"
    )
    file = home / "settings.yaml"
    file.write_text(SETTINGS.format(home=home, url=url, listener=listener))
    return Installation(file)


def test_settings_become_ports_without_a_call(tmp_path: Path, answering: str) -> None:
    with installation(tmp_path, answering) as found:
        ports = found.ports

        assert list(ports.environments) == ["dev", "prod"]
        assert ports.environments["prod"].account_id == "222222222222"
        assert {environment.period_s for environment in ports.environments.values()} == {1.0}
        assert ports.base_images == {"debian-12": BaseSource(name="debian-12-amd64")}
        assert (tmp_path / "state/store.sqlite").exists()


def test_a_sandbox_that_is_not_running_is_said_at_once(tmp_path: Path, silent: str) -> None:
    with installation(tmp_path, silent) as found, pytest.raises(NotFound) as caught:
        _ = found.ports

    assert str(caught.value).startswith("The sandbox is not running")
    assert caught.value.hint == "Run `ovenbird sandbox up`"


def test_our_records_are_read_while_the_sandbox_is_not_running(tmp_path: Path, silent: str) -> None:
    with installation(tmp_path, silent) as found:
        assert found.store.list_releases() == ()


def test_an_environment_without_a_listener_is_refused(tmp_path: Path, answering: str) -> None:
    with (
        installation(tmp_path, answering, listener='""') as found,
        pytest.raises(InvalidRequest, match="`dev` has no `listener_arn`"),
    ):
        _ = found.ports


def test_an_endpoint_elsewhere_that_is_silent_is_not_taken_for_the_sandbox() -> None:
    with pytest.raises(CloudError, match="does not answer"):
        await_answer("http://no-such-host.invalid:4599")


def test_each_endpoint_is_tried_once(tmp_path: Path, answering: str) -> None:
    assert endpoints(installation(tmp_path, answering).settings) == (answering,)


def test_the_environment_is_the_named_one_or_that_of_the_stack(
    tmp_path: Path, answering: str
) -> None:
    with installation(tmp_path, answering) as found:
        assert found.environment_of(ClusterName.parse("hello-prod")).name == "prod"
        assert found.environment_of(ClusterName.parse("hello-prod"), "dev").name == "dev"
        with pytest.raises(NotFound, match="No environment `none`"):
            found.environment_of(ClusterName.parse("hello-prod"), "none")
        with pytest.raises(NotFound, match="does not say in which environment"):
            found.environment_of(ClusterName.parse("hello"))


def test_questions_about_the_past_import_neither_boto_nor_the_engine() -> None:
    code = (
        "import sys; from ovenbird.__main__ import main; main(['release', 'list', '--help']);"
        "print({'boto3', 'dbos', 'moto'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stderr == "set()\n"
