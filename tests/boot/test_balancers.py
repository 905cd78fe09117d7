"""A load balancer that carries real requests to servers in namespaces; nothing is lost."""

from __future__ import annotations

import http.client
import math
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Self

import pytest

from ovenbird.sandbox import networks
from ovenbird.sandbox.places import DEVELOPMENT, Places

if TYPE_CHECKING:
    from ovenbird.sandbox.endpoint import Endpoint

pytestmark = pytest.mark.boot

PORT = 8000


@dataclass
class Web:
    """A server in a machine's namespace."""

    address: str
    health: int = 200
    delay_s: float = 0.0
    served: int = 0
    checks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    close: Callable[[], None] = lambda: None


class Server(ThreadingHTTPServer):
    """A server that does not ask a name server for its own name."""

    daemon_threads = True
    request_queue_size = 100

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


class World:
    """A load balancer with a listener, and as many servers as are asked for."""

    def __init__(self, endpoint: Endpoint, account: str, metrics: list[dict[str, Any]]) -> None:
        self.elbv2 = endpoint.development.elbv2
        self.ec2 = endpoint.development.ec2
        self.account, self.metrics = account, metrics
        self.stack = ExitStack()
        self.webs: list[Web] = []
        subnets = self.ec2.describe_subnets()["Subnets"]
        self.vpc_id = subnets[0]["VpcId"]
        made = self.elbv2.create_load_balancer(
            Name=f"lb-{uuid.uuid4().hex[:8]}", Subnets=[s["SubnetId"] for s in subnets]
        )["LoadBalancers"][0]
        self.balancer_arn, self.host = made["LoadBalancerArn"], made["DNSName"]
        self.stack.callback(
            lambda: self.elbv2.delete_load_balancer(LoadBalancerArn=self.balancer_arn)
        )
        self.listener_arn = ""

    def web(self, **settings: Any) -> Web:
        number = len(self.webs) + 1
        web = Web(address=f"172.31.9.{number}", **settings)
        machine = f"{self.account}-w{number}"
        mac = f"02:00:00:00:00:{number:02x}"
        networks.plug_in(self.account, machine, address=web.address, mac=mac)
        self.stack.callback(networks.unplug, machine)
        server = networks.within(machine, lambda: Server((web.address, PORT), handler(web)))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()

        def close() -> None:
            server.shutdown()
            server.server_close()

        web.close = close
        self.stack.callback(close)
        self.webs.append(web)
        return web

    def group(self, *webs: Web, **settings: Any) -> str:
        arn = self.elbv2.create_target_group(
            Name=f"tg-{uuid.uuid4().hex[:8]}",
            Protocol="HTTP",
            Port=PORT,
            VpcId=self.vpc_id,
            TargetType="ip",
            HealthCheckPath="/healthz",
            **{
                "HealthCheckIntervalSeconds": 5,
                "HealthCheckTimeoutSeconds": 2,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 2,
                **settings,
            },
        )["TargetGroups"][0]["TargetGroupArn"]
        self.elbv2.modify_target_group_attributes(
            TargetGroupArn=arn,
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "10"}],
        )
        self.elbv2.register_targets(
            TargetGroupArn=arn, Targets=[{"Id": web.address} for web in webs]
        )
        return arn

    def send_to(self, weights: dict[str, int]) -> None:
        """Set the listener's default action; make the listener when there is none."""
        if self.listener_arn:
            self.elbv2.modify_listener(
                ListenerArn=self.listener_arn, DefaultActions=forward(weights)
            )
            return
        self.listener_arn = self.elbv2.create_listener(
            LoadBalancerArn=self.balancer_arn,
            Protocol="HTTP",
            Port=PORT,
            DefaultActions=forward(weights),
        )["Listeners"][0]["ListenerArn"]

    def rule(self, priority: int, path: str, weights: dict[str, int]) -> str:
        return self.elbv2.create_rule(
            ListenerArn=self.listener_arn,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "Values": [path]}],
            Actions=forward(weights),
        )["Rules"][0]["RuleArn"]

    def health(self, arn: str) -> dict[str, tuple[str, str]]:
        found = self.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return {
            one["Target"]["Id"]: (
                str(one["TargetHealth"].get("State")),
                str(one["TargetHealth"].get("Description", "")),
            )
            for one in found
        }

    def await_states(self, arn: str, *states: str, within_s: float = 15.0) -> None:
        eventually(
            lambda: sorted(state for state, _ in self.health(arn).values()) == sorted(states),
            within_s=within_s,
            saying=lambda: str(self.health(arn)),
        )
        threading.Event().wait(0.3)  # until HAProxy follows

    def get(self, path: str = "/") -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, PORT, timeout=15)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def total(self, metric: str, group: str = "") -> float:
        """Sum a metric of the load balancer, or of one of its target groups."""
        balancer = self.balancer_arn.split(":loadbalancer/")[1]
        wanted = {"LoadBalancer": balancer}
        if group:
            wanted["TargetGroup"] = group.rsplit(":", 1)[1]
        found = (
            datum
            for datum in list(self.metrics)
            if datum["MetricName"] == metric
            and {d["Name"]: d["Value"] for d in datum["Dimensions"]} == wanted
        )
        return math.fsum(datum.get("Value", sum(datum.get("Counts", ()))) for datum in found)


def forward(weights: dict[str, int]) -> list[Any]:
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]


def handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            check = self.headers["User-Agent"] == "ELB-HealthChecker/2.0"
            with web.lock:
                web.checks += check
                web.served += not check
            if not check:
                threading.Event().wait(web.delay_s)
            status = web.health if self.path == "/healthz" else 200
            status = int(self.path[1:]) if self.path[1:].isdigit() else status
            body = web.address.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    return Handler


def eventually(
    true: Callable[[], bool], *, within_s: float = 10.0, saying: Callable[[], str] = str
) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, saying()
        threading.Event().wait(0.02)


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


class Load:
    """Clients that send until they have sent enough; every other one keeps its connection."""

    def __init__(self, world: World, *, requests: int, clients: int = 8) -> None:
        self._world, self._left = world, requests
        self._lock = threading.Lock()
        self.answers: Counter[str] = Counter()
        self.threads = [
            threading.Thread(target=self._send, args=(number % 2 == 0,))
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            thread.join()

    def sent(self) -> int:
        return self.answers.total()

    def _send(self, keep: bool) -> None:  # noqa: FBT001
        connection = http.client.HTTPConnection(self._world.host, PORT, timeout=10)
        while self._take():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                said = answer.read().decode() if answer.status == 200 else str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                said = repr(error)
                connection.close()
            with self._lock:
                self.answers[said] += 1
            if not keep:
                connection.close()
        connection.close()

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0


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
