"""What tests of load balancers need: servers in namespaces, a balancer, clients in numbers."""

from __future__ import annotations

import http.client
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Self

from ovenbird.sandbox import networks

if TYPE_CHECKING:
    from ovenbird.sandbox.endpoint import Endpoint

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

    def send_to(self, weights: dict[str, int], *, sticky_s: int = 0) -> None:
        """Set the listener's default action; make the listener when there is none."""
        if self.listener_arn:
            self.elbv2.modify_listener(
                ListenerArn=self.listener_arn, DefaultActions=forward(weights, sticky_s=sticky_s)
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

    def rules_with(self, kind: str) -> list[str]:
        """Return the ARNs of the listener's rules that have an action of a kind."""
        rules = self.elbv2.describe_rules(ListenerArn=self.listener_arn)["Rules"]
        return [rule["RuleArn"] for rule in rules if rule["Actions"][0]["Type"] == kind]

    def get(
        self, path: str = "/", *, host: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Return status, and body or location."""
        return self.ask(path, host=host, headers=headers)[:2]

    def ask(
        self, path: str = "/", *, host: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Return status, body or location, and the cookie that came with it."""
        connection = http.client.HTTPConnection(self.host, PORT, timeout=15)
        try:
            given = {"Host": host} if host else {}
            connection.request("GET", path, headers=given | (headers or {}))
            answer = connection.getresponse()
            body = answer.read().decode()
            cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
            return answer.status, answer.headers.get("Location") or body, cookie
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


def forward(weights: dict[str, int], *, sticky_s: int = 0) -> list[Any]:
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    config: dict[str, Any] = {"TargetGroups": groups}
    if sticky_s:
        config["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": sticky_s}
    return [{"Type": "forward", "ForwardConfig": config}]


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


class Load:
    """Clients that send until they have sent enough; every other one keeps its connection."""

    def __init__(
        self, world: World, *, requests: int, clients: int = 8, rest_s: float = 0.0
    ) -> None:
        self._world, self._left, self._rest_s = world, requests, rest_s
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

    def stop(self) -> None:
        self._left = 0

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
            threading.Event().wait(self._rest_s)
        connection.close()

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0
