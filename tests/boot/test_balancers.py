"""A load balancer that carries real requests to servers in namespaces; nothing is lost."""

from __future__ import annotations

import http.client
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovenbird.aws.alarms import dimensions
from ovenbird.sandbox import networks
from ovenbird.sandbox.places import DEVELOPMENT, Places
from ovenbird.system.clock import SystemClock
from tests.boot.traffic import PORT, Load, World, eventually, forward

if TYPE_CHECKING:
    from ovenbird.sandbox.endpoint import Endpoint

pytestmark = pytest.mark.boot


@pytest.fixture
def account(tmp_path: Path) -> Iterator[str]:
    places = Places(home=tmp_path, cache=tmp_path)
    with networks.account_network(places, DEVELOPMENT) as name:
        yield name


@pytest.fixture
def world(endpoint: Endpoint, account: str, tmp_path: Path) -> Iterator[World]:
    from ovenbird.sandbox import balancers  # noqa: PLC0415 - moto takes two seconds

    places = Places(home=tmp_path, cache=tmp_path)
    metrics: list[dict[str, Any]] = []
    with balancers.running(
        places, {DEVELOPMENT: account}, publish=lambda _account, data: metrics.extend(data)
    ):
        made = World(endpoint, account, metrics)
        with made.stack:
            yield made


def test_ten_thousand_requests_are_counted_and_none_is_lost_while_rules_and_weights_change(
    world: World,
) -> None:
    a, b, c = world.web(), world.web(), world.web()
    first, second = world.group(a, b), world.group(c)
    world.send_to({first: 95, second: 5})
    world.await_states(first, "healthy", "healthy")
    world.await_states(second, "healthy")

    with Load(world, requests=10_000) as load:
        for number in range(8):
            goal = (number + 1) * 1_000
            eventually(lambda goal=goal: load.sent() >= goal, within_s=60)  # type: ignore[misc]
            if number in {2, 4, 6}:
                world.send_to({first: 100 - 10 * number, second: 10 * number})
            else:
                world.rule(number + 1, f"/other/{number}/*", {first: 1})

    assert set(load.answers) == {a.address, b.address, c.address}
    assert load.sent() == 10_000 == a.served + b.served + c.served
    eventually(lambda: world.total("RequestCount") >= 10_000)
    assert world.total("RequestCount") == 10_000 == world.total("HTTPCode_Target_2XX_Count")
    assert world.total("RequestCount", first) == a.served + b.served
    assert world.total("TargetResponseTime", second) == c.served > 500
    assert world.total("HTTPCode_ELB_5XX_Count") == 0


def test_a_rollout_loses_nothing_not_even_for_clients_that_rest_between_requests(
    world: World,
) -> None:
    from ovenbird.sandbox.targets import HEALTH  # noqa: PLC0415

    old = [world.web(), world.web()]
    group = world.group(*old)
    world.send_to({group: 1})
    world.await_states(group, "healthy", "healthy")

    with (
        Load(world, requests=1 << 30, clients=4) as load,
        Load(world, requests=1 << 30, clients=10, rest_s=0.7) as resting,
    ):
        for _ in range(3):
            new = [world.web(delay_s=0.01), world.web()]
            successor = world.group()
            world.send_to({group: 100, successor: 0})
            world.elbv2.register_targets(
                TargetGroupArn=successor, Targets=[{"Id": web.address} for web in new]
            )
            world.await_states(successor, "healthy", "healthy")
            for weight in (5, 50, 100):
                world.send_to({group: 100 - weight, successor: weight})
                threading.Event().wait(0.5)
            world.elbv2.deregister_targets(
                TargetGroupArn=group, Targets=[{"Id": web.address} for web in old]
            )
            eventually(lambda: not any(HEALTH.is_draining(web.address) for web in old))  # noqa: B023
            for web in old:
                web.close()
            world.send_to({successor: 100})
            threading.Event().wait(1)
            group, old = successor, new
        load.stop()
        resting.stop()

    answers = load.answers + resting.answers
    assert {answer: n for answer, n in answers.items() if not answer.startswith("172.")} == {}
    assert answers.total() == sum(web.served for web in world.webs) > 1_000
    assert resting.answers.total() > 50


def test_weights_are_in_force_at_once(world: World) -> None:
    a, b = world.web(), world.web()
    first, second = world.group(a), world.group(b)
    world.send_to({first: 1, second: 0})
    world.await_states(first, "healthy")
    world.await_states(second, "healthy")

    before = {world.get()[1] for _ in range(50)}
    world.send_to({first: 0, second: 999})
    threading.Event().wait(0.3)
    after = {world.get()[1] for _ in range(50)}
    world.send_to({first: 0, second: 0})
    threading.Event().wait(0.3)

    assert (before, after) == ({a.address}, {b.address})
    assert world.get()[0] == 503


def test_a_target_that_leaves_finishes_its_request_and_gets_no_other(world: World) -> None:
    from ovenbird.sandbox.targets import HEALTH  # noqa: PLC0415

    slow, fast = world.web(delay_s=1.0), world.web()
    group = world.group(slow)
    world.send_to({group: 1})
    world.await_states(group, "healthy")
    answers: list[tuple[int, str]] = []
    client = threading.Thread(target=lambda: answers.append(world.get()))
    client.start()
    eventually(lambda: slow.served == 1)
    world.elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": fast.address}])
    eventually(lambda: world.health(group)[fast.address][0] == "healthy")

    world.elbv2.deregister_targets(TargetGroupArn=group, Targets=[{"Id": slow.address}])
    during = (HEALTH.is_draining(slow.address), world.health(group)[slow.address][0])
    threading.Event().wait(0.3)
    others = {world.get() for _ in range(20)}
    client.join()

    assert during == (True, "draining")
    assert answers == [(200, slow.address)]
    assert others == {(200, fast.address)}
    assert slow.served == 1
    eventually(lambda: not HEALTH.is_draining(slow.address), within_s=2)
    assert set(world.health(group)) == {fast.address}


def test_targets_are_judged_by_real_checks_and_all_are_used_when_all_are_bad(world: World) -> None:
    good, bad = world.web(), world.web(health=500)
    group = world.group(good, bad, HealthCheckIntervalSeconds=5)
    unused = world.group(good)
    world.send_to({group: 1})
    world.await_states(group, "healthy", "unhealthy", within_s=20)

    one = {world.get()[1] for _ in range(20)}
    words = world.health(group)[bad.address][1]
    good.health = 404
    world.await_states(group, "unhealthy", "unhealthy", within_s=20)
    threading.Event().wait(0.3)
    both = {world.get()[1] for _ in range(20)}

    assert words == "Health checks failed with these codes: [500]"
    assert one == {good.address}
    assert both == {good.address, bad.address}
    assert world.health(unused)[good.address][0] == "unused"


def test_failures_are_shown_as_an_application_load_balancer_shows_them(world: World) -> None:
    web = world.web()
    group, empty = world.group(web), world.group()
    world.send_to({group: 1})
    world.rule(1, "/empty", {empty: 1})
    world.await_states(group, "healthy")

    answers = [world.get("/404")[0], world.get("/503")[0], world.get("/empty")[0]]
    web.close()
    refused = world.get()[0]

    assert answers == [404, 503, 503]
    assert refused == 502
    eventually(lambda: world.total("HTTPCode_ELB_5XX_Count") == 2)
    assert world.total("HTTPCode_Target_5XX_Count", group) == 1
    assert world.total("HTTPCode_Target_4XX_Count", group) == 1
    assert world.total("RequestCount", group) == 3
    assert world.total("RequestCount", empty) == 0
    assert world.total("HealthyHostCount", group) > 0


def test_a_client_with_a_cookie_stays_until_the_traffic_is_no_longer_divided(
    world: World,
) -> None:
    a, b = world.web(), world.web()
    first, second = world.group(a), world.group(b)
    world.send_to({first: 100, second: 0})
    world.await_states(first, "healthy")
    world.await_states(second, "healthy")
    world.send_to({first: 50, second: 50}, sticky_s=600)

    def came() -> bool:
        found = world.ask()
        cookies[found[1]] = found[2]
        return len(cookies) == 2 and all(cookies.values())

    cookies: dict[str, str] = {}
    eventually(came)
    stay = {"Cookie": f"theme=dark; {cookies[b.address]}"}
    assert {world.get(headers=stay)[1] for _ in range(20)} == {b.address}
    world.send_to({first: 100, second: 0}, sticky_s=600)
    assert world.get(headers=stay)[1] == b.address, "an ALB heeds the cookie before the weight"
    world.send_to({first: 100, second: 0})
    eventually(lambda: {world.get(headers=stay)[1] for _ in range(20)} == {a.address})


def test_testers_reach_a_group_that_has_no_weight(world: World) -> None:
    a, b = world.web(), world.web()
    first, second = world.group(a), world.group(b)
    world.send_to({first: 100, second: 0})
    world.await_states(second, "healthy")
    world.await_states(first, "healthy")
    conditions: list[Any] = [
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}},
        {
            "Field": "http-header",
            "HttpHeaderConfig": {"HttpHeaderName": "Cookie", "Values": ["*canary=yes*"]},
        },
    ]
    world.elbv2.create_rule(
        ListenerArn=world.listener_arn,
        Priority=1,
        Conditions=conditions,
        Actions=forward({second: 1}),
    )

    tester = {"Cookie": "theme=dark; canary=yes; a=b"}
    eventually(lambda: world.get(headers=tester) == (200, b.address))
    assert {world.get(headers=tester)[1] for _ in range(10)} == {b.address}
    assert {world.get(headers={"Cookie": "canary=no"})[1] for _ in range(10)} == {a.address}


def test_rules_are_tried_in_the_order_of_their_priority(world: World) -> None:
    a, b = world.web(), world.web()
    first, second = world.group(a), world.group(b)
    world.send_to({first: 1})
    host = [{"Field": "host-header", "HostHeaderConfig": {"Values": ["*.B.example"]}}]
    moved = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_302"}
    fixed = {"StatusCode": "503", "ContentType": "text/plain", "MessageBody": "a 'pot' #1\n"}
    path: list[Any] = [{"Field": "path-pattern", "Values": ["/x/*"]}]
    rules: list[tuple[int, list[Any], list[Any]]] = [
        (30, [*host, *path], [{"Type": "redirect", "RedirectConfig": moved}]),
        (20, path, [{"Type": "fixed-response", "FixedResponseConfig": fixed}]),
        (10, host, forward({second: 1})),
    ]
    for priority, conditions, actions in rules:
        world.elbv2.create_rule(
            ListenerArn=world.listener_arn,
            Priority=priority,
            Conditions=conditions,
            Actions=actions,
        )
    world.await_states(first, "healthy")
    world.await_states(second, "healthy")

    assert world.get("/") == (200, a.address)
    assert world.get("/", host="www.b.example") == (200, b.address)
    assert world.get("/x/1") == (503, "a 'pot' #1\n")
    assert world.get("/x/1", host="www.b.example:8000") == (200, b.address)
    swap = [{"Priority": 5, "RuleArn": arn} for arn in world.rules_with("redirect")]
    world.elbv2.set_rule_priorities(RulePriorities=swap)  # type: ignore[arg-type]
    threading.Event().wait(0.5)
    assert world.get("/x/1?y=2", host="www.b.example") == (
        302, "https://www.b.example:443/x/1?y=2",
    )  # fmt: skip


def test_a_connection_that_rests_is_told_to_close_and_not_cut(world: World) -> None:
    web = world.web()
    group = world.group(web)
    world.send_to({group: 1})
    world.await_states(group, "healthy")
    connection = http.client.HTTPConnection(world.host, PORT, timeout=5)
    connection.request("GET", "/")
    first = connection.getresponse()
    first.read()

    world.rule(1, "/other", {group: 1})
    threading.Event().wait(1)
    connection.request("GET", "/")
    second = connection.getresponse()
    second.read()
    connection.close()

    assert (first.status, first.will_close) == (200, False)
    assert (second.status, second.will_close) == (200, True)


def test_haproxy_comes_back_when_it_is_killed(world: World, account: str) -> None:
    web = world.web()
    group = world.group(web)
    world.send_to({group: 1})
    world.await_states(group, "healthy")
    assert world.get()[0] == 200

    (pid,) = haproxies(account)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: haproxies(account) not in ([], [pid]))

    assert world.get()[0] == 200


def test_nothing_is_left_when_it_ends(endpoint: Endpoint, account: str, tmp_path: Path) -> None:
    from ovenbird.sandbox import balancers  # noqa: PLC0415

    places = Places(home=tmp_path, cache=tmp_path)
    with balancers.running(places, {DEVELOPMENT: account}, publish=lambda *_: None):
        world = World(endpoint, account, [])
        with world.stack:
            world.send_to({world.group(): 1})
            eventually(lambda: len(haproxies(account)) == 1)

    assert haproxies(account) == []
    assert list(places.balancer.rglob("*.*")) == []


def test_a_rule_that_haproxy_does_not_take_changes_nothing_and_is_told(
    world: World, account: str, caplog: pytest.LogCaptureFixture
) -> None:
    web = world.web()
    group = world.group(web)
    world.send_to({group: 1})
    world.await_states(group, "healthy")
    before = haproxies(account)
    condition = {"Field": "source-ip", "SourceIpConfig": {"Values": ["not an address"]}}
    rule = world.elbv2.create_rule(
        ListenerArn=world.listener_arn,
        Priority=1,
        Conditions=[condition],  # type: ignore[list-item]
        Actions=forward({group: 1}),
    )["Rules"][0]["RuleArn"]
    eventually(lambda: "stay as they are" in caplog.text)

    assert "'not an address' is not a valid IPv4 or IPv6 address" in caplog.text
    assert (world.get()[0], haproxies(account)) == (200, before)

    world.elbv2.delete_rule(RuleArn=rule)
    world.rule(1, "/other", {group: 1})
    eventually(lambda: haproxies(account) not in ([], before))
    assert world.get()[0] == 200


def test_what_was_counted_stands_in_cloudwatch(
    endpoint: Endpoint, account: str, tmp_path: Path
) -> None:
    from ovenbird.sandbox import balancers  # noqa: PLC0415

    places = Places(home=tmp_path, cache=tmp_path)
    with balancers.running(places, {DEVELOPMENT: account}):
        world = World(endpoint, account, [])
        with world.stack:
            group = world.group(world.web())
            world.send_to({group: 1})
            world.await_states(group, "healthy")
            answers = [world.get("/500" if number % 4 == 0 else "/")[0] for number in range(20)]
            where = dimensions(target_group=group, listener=world.listener_arn)
            eventually(lambda: counted(endpoint, "RequestCount", where) == 20)
            errors = counted(endpoint, "HTTPCode_Target_5XX_Count", where)

    assert answers.count(500) == errors == 5
    assert counted(endpoint, "HTTPCode_Target_3XX_Count", where) is None


def counted(endpoint: Endpoint, metric: str, where: list[Any]) -> float | None:
    """Return the sum of the last minute, or None when there is no datapoint."""
    now = SystemClock().now()
    found = endpoint.development.cloudwatch.get_metric_statistics(
        Namespace="AWS/ApplicationELB",
        MetricName=metric,
        Dimensions=where,
        StartTime=now - timedelta(seconds=60),
        EndTime=now + timedelta(seconds=60),
        Period=1,
        Statistics=["Sum"],
    )["Datapoints"]
    return math.fsum(point["Sum"] for point in found) if found else None


def haproxies(account: str) -> list[int]:
    """Return the processes in an account's network."""
    inode = (networks.RUN_NETNS / account).stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "ns/net").stat().st_ino == inode:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_connection_that_has_not_asked_yet_is_answered_after_a_change(world: World) -> None:
    web = world.web()
    group = world.group(web)
    world.send_to({group: 1})
    world.await_states(group, "healthy")
    clients = [socket.create_connection((world.host, PORT)) for _ in range(5)]
    threading.Event().wait(0.2)

    world.rule(1, "/other/*", {group: 1})
    threading.Event().wait(1.5)  # another process has taken over

    for client in clients:
        with client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
