from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.names import (
    VERSIONS,
    ClusterName,
    ServerGroupName,
    next_name,
    target_group_name,
)

WORDS = st.from_regex(r"[a-zA-Z0-9._]{1,12}", fullmatch=True)
CLUSTERS = st.builds(ClusterName, app=WORDS, stack=WORDS | st.just(""), detail=st.just("")) | (
    st.builds(ClusterName, app=WORDS, stack=WORDS, detail=WORDS)
)
HELLO = ClusterName(app="hello", stack="prod")


def named(version: int, cluster: ClusterName = HELLO) -> ServerGroupName:
    return ServerGroupName(cluster=cluster, version=version)


@given(cluster=CLUSTERS)
def test_a_cluster_name_reads_back_as_it_was_written(cluster: ClusterName) -> None:
    assert ClusterName.parse(str(cluster)) == cluster


@given(cluster=CLUSTERS, version=st.integers(0, VERSIONS - 1))
def test_a_target_group_name_is_short_enough_and_allowed(
    cluster: ClusterName, version: int
) -> None:
    name = target_group_name(named(version, cluster))

    assert re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?", name)


@given(a=st.integers(0, 999), b=st.integers(0, 999))
def test_two_groups_never_share_a_target_group_name(a: int, b: int) -> None:
    long = ClusterName(app="an-app".replace("-", "_") * 5, stack="production")

    assert (target_group_name(named(a, long)) == target_group_name(named(b, long))) == (a == b)


@pytest.mark.parametrize("text", ["", "-", "hello-v1", "hello-v0001", "he llo-v001", "hello"])
def test_what_is_no_server_group_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        ServerGroupName.parse(text)


def test_the_first_version_is_one_and_the_next_follows_the_newest() -> None:
    assert str(next_name(HELLO, newest=None, taken=())) == "hello-prod-v001"
    assert str(next_name(HELLO, newest=named(999), taken=())) == "hello-prod-v000"
    assert next_name(HELLO, newest=named(7), taken={named(8), named(9)}) == named(10)


def test_a_cluster_with_every_name_taken_is_a_conflict() -> None:
    with pytest.raises(Conflict):
        next_name(HELLO, newest=named(0), taken={named(v) for v in range(VERSIONS)})
