from __future__ import annotations

from dataclasses import replace

import pytest

from ovenbird.sandbox.metadata import (
    Answer,
    MetadataService,
    Request,
    Subject,
    cloud_init_key,
    cloud_init_url,
    look_up,
)

TREE = {
    "meta-data/instance-id": b"i-1",
    "meta-data/local-ipv4": b"172.31.0.4",
    "meta-data/placement/region": b"eu-west-1",
    "meta-data/public-keys/": b"0=mine",
    "meta-data/public-keys/0/openssh-key": b"ssh-ed25519 AAAA\n",
    "dynamic/instance-identity/document": b"{}",
    "user-data": b"#cloud-config\n",
    "/": b"dynamic\nmeta-data\nuser-data",
}
FIRST = Subject(instance_id="i-1", enabled=True, token_required=True, hop_limit=2, tree=TREE)
SECOND = replace(FIRST, instance_id="i-2", tree={"meta-data/instance-id": b"i-2"})
OPTIONAL = replace(FIRST, instance_id="i-3", token_required=False)
DISABLED = replace(FIRST, instance_id="i-4", enabled=False)
TTL = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "x-aws-ec2-metadata-token"  # noqa: S105 - a header


class Network:
    """Instances at their addresses, and a clock that a test sets."""

    def __init__(self) -> None:
        known = {"1": FIRST, "2": SECOND, "3": OPTIONAL, "4": DISABLED}
        self.now = 0.0
        self.service = MetadataService(known.get, lambda: self.now)

    def ask(
        self, path: str = "/latest/meta-data/instance-id", *, at: str = "1", **headers: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service.answer(Request(address=at, method="GET", path=path, headers=named))

    def put(self, *, at: str = "1", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service.answer(
            Request(address=at, method="PUT", path="/latest/api/token", headers=named)
        )

    def token(self, *, at: str = "1", ttl: str = "60") -> str:
        return self.put(at=at, **{TTL: ttl}).body.decode()


@pytest.fixture
def network() -> Network:
    return Network()


def test_a_token_opens_the_metadata(network: Network) -> None:
    answer = network.put(**{TTL: "21600"})

    assert (answer.status, answer.headers, answer.hop_limit) == (200, {TTL: "21600"}, 2)
    assert network.ask(**{TOKEN: answer.body.decode()}) == Answer(status=200, body=b"i-1")


def test_without_a_token_nothing_is_told_where_one_is_required(network: Network) -> None:
    assert network.ask().status == 401
    assert network.ask("/latest/user-data").status == 401
    assert network.ask("/nothing").status == 401
    assert network.ask(at="3").body == b"i-1"


def test_a_token_expires(network: Network) -> None:
    token = network.token(ttl="60")

    network.now = 59.0
    assert network.ask(**{TOKEN: token}).status == 200
    network.now = 61.0
    assert network.ask(**{TOKEN: token}).status == 401


def test_a_token_belongs_to_its_instance(network: Network) -> None:
    token = network.token()

    assert network.ask(at="2", **{TOKEN: token}).status == 401


def test_a_wrong_token_is_refused_even_where_none_is_required(network: Network) -> None:
    assert network.ask(at="3", **{TOKEN: "made up"}).status == 401


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "soon"])
def test_a_token_needs_a_time_to_live(network: Network, ttl: str) -> None:
    assert network.put(**{TTL: ttl}).status == 400


def test_a_token_is_not_given_through_a_proxy(network: Network) -> None:
    assert network.put(x_forwarded_for="10.0.0.1", **{TTL: "60"}).status == 403


def test_a_disabled_service_refuses_all(network: Network) -> None:
    assert network.ask(at="4").status == 403
    assert network.put(at="4", **{TTL: "60"}).status == 403


def test_who_is_no_instance_is_told_nothing(network: Network) -> None:
    assert network.ask(at="9").status == 404


def test_cloud_init_reads_without_a_token_below_its_own_address(network: Network) -> None:
    path = cloud_init_url("i-1").removeprefix("http://169.254.169.254")

    assert network.ask(f"{path}/2021-03-23/meta-data/instance-id").body == b"i-1"
    assert network.ask(f"{path}/2021-03-23/user-data").body == b"#cloud-config\n"


def test_the_address_of_another_instances_cloud_init_opens_nothing(network: Network) -> None:
    path = f"/{cloud_init_key('i-2')}/latest/meta-data/instance-id"

    assert network.ask(path).status == 401


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/latest", "dynamic\nmeta-data\nuser-data"),
        ("/latest/", "dynamic\nmeta-data\nuser-data"),
        ("/latest/meta-data/", "instance-id\nlocal-ipv4\nplacement/\npublic-keys/"),
        ("/latest/meta-data/placement", "region"),
        ("/2009-04-04/meta-data/public-keys/", "0=mine"),
        ("/2009-04-04/meta-data/public-keys/0/", "openssh-key"),
        ("/latest/dynamic/", "instance-identity/"),
        ("/2018-09-24/user-data", "#cloud-config\n"),
        ("/2016-09-02/meta-data/instance-id", "i-1"),
    ],
)
def test_paths_and_listings_are_as_on_ec2(path: str, text: str) -> None:
    found = look_up(TREE, path)

    assert found is not None
    assert found.decode() == text


def test_the_versions_are_listed() -> None:
    found = (look_up(TREE, "/") or b"").decode().splitlines()

    assert {"2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest"} <= set(found)


@pytest.mark.parametrize(
    "path", ["/latest/meta-data/nothing", "/2000-01-01/meta-data/instance-id", "/latest/meta-dat"]
)
def test_what_there_is_not_is_not_found(path: str) -> None:
    assert look_up(TREE, path) is None
