"""What carries the requests: one HAProxy for each account, that follows ELBv2's model.

    API call ──wakes──▶ loop: moto's model ──▶ layout ──▶ HAProxy: weights and targets at run time
    health check ──wakes──▶                               or another HAProxy, when rules changed
    line of log ──▶ tally ──▶ CloudWatch, each second

The listening sockets belong to this process, in this host's network; HAProxy inherits them
and lives in the account's network, where the machines are.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.elbv2.models import ELBv2Backend, elbv2_backends

from ovenbird.domain.errors import CommandFailed
from ovenbird.sandbox import balancer_rules
from ovenbird.sandbox.checks import Check, Checker
from ovenbird.sandbox.haproxy import Layout, shape
from ovenbird.sandbox.haproxy_process import Haproxy
from ovenbird.sandbox.loops import CONTROL, Loop
from ovenbird.sandbox.places import REGION, Places
from ovenbird.sandbox.targets import HEALTH, Key, TargetHealth
from ovenbird.sandbox.traffic_log import Tally, host_counts, metric_data, parse

log = logging.getLogger(__name__)

NAMESPACE = "AWS/ApplicationELB"
EVERY_S = 0.2
AGAIN_S = 5.0  # before a layout that HAProxy refused is tried again
BACKLOG = 4096

Publish = Callable[[str, list[dict[str, Any]]], None]
"""Takes an account's id and PutMetricData's list."""


def publish(account_id: str, data: list[dict[str, Any]]) -> None:
    """Put metrics of the load balancers into CloudWatch."""
    with CONTROL:
        cloudwatch_backends[account_id][REGION].put_metric_data(NAMESPACE, data)


class Plane:
    """One account's traffic.

    Args:
        account_id: Whose load balancers.
        namespace: The account's network.
        places: Of the sandbox.
        publish: Takes the metrics.
    """

    def __init__(
        self, account_id: str, namespace: str, places: Places, *, publish: Publish = publish
    ) -> None:
        self._account_id, self._namespace, self._publish = account_id, namespace, publish
        self._directory = places.balancer / account_id
        self._tally = Tally()
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._current: Haproxy | None = None
        self._retired: list[Haproxy] = []
        self._started = 0
        self._refused, self._refused_at = "", 0.0
        self._told = int(time.time())
        self._checker = Checker(namespace, wanted=self._checks, found=self._found)
        self._loops = [
            Loop(f"balancers-{account_id}", every_s=EVERY_S, tick=self._tick),
            Loop(f"traffic-{account_id}", every_s=EVERY_S, tick=self._tell),
        ]

    def start(self) -> None:
        """Begin."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._checker.start()
        for loop in self._loops:
            loop.start()

    def wake(self) -> None:
        """Look at the model now."""
        self._loops[0].wake()

    def carries(self, key: Key) -> bool:
        """Tell whether requests can be sent to a target now."""
        arn, target, port = key
        server = (balancer_rules.group_name(arn), balancer_rules.target_name(target, port))
        return self._current is not None and self._current.knows(*server)

    def stop(self) -> None:
        """End all processes, close the sockets, publish what is left."""
        self._checker.stop()
        for loop in self._loops:
            loop.stop()
        for process in self._processes():
            process.end()
        for listening in self._sockets.values():
            listening.close()
        self._tell(unfinished=True)

    @property
    def _backend(self) -> ELBv2Backend:
        return elbv2_backends[self._account_id][REGION]

    def _processes(self) -> list[Haproxy]:
        return [*([self._current] if self._current else []), *self._retired]

    def _tick(self) -> None:
        with CONTROL:
            layout = balancer_rules.layout(self._backend)
            draining = HEALTH.draining()
        self._bury()
        if self._must_replace(layout):
            self._replace(layout)
        for process in self._processes():
            self._follow(process, layout)
        self._end_drains(draining)

    def _bury(self) -> None:
        """Forget processes that have ended, and end retired ones that nobody needs."""
        if self._current and not self._current.alive:
            log.error("HAProxy has ended by itself: %s", self._current.words())
            self._current.end()
            self._current = None
        for process in list(self._retired):
            if process.is_done():
                process.end()
                self._retired.remove(process)

    def _follow(self, process: Haproxy, layout: Layout) -> None:
        try:
            process.follow(layout)
        except (CommandFailed, OSError) as error:
            log.warning("HAProxy %s is replaced: %s", process.pid, error)
            if process is self._current:
                self._replace(layout)

    def _must_replace(self, layout: Layout) -> bool:
        if self._current and self._current.shape == shape(layout):
            return False
        waited = time.monotonic() - self._refused_at
        return shape(layout) != self._refused or waited > AGAIN_S

    def _replace(self, layout: Layout) -> None:
        """Let another HAProxy take over; both have the sockets, so no connection is refused."""
        before = self._current
        try:
            self._open(layout)
            self._current = self._start(layout) if layout.listeners else None
        except (CommandFailed, OSError) as error:
            self._refuse(layout, error)
            return
        self._refused = ""
        if before:
            with suppress(CommandFailed, OSError):  # one that does not answer is ended soon
                before.retire()
            self._retired.append(before)
        for where in self._sockets.keys() - set(layout.sockets()):
            self._sockets.pop(where).close()

    def _refuse(self, layout: Layout, error: CommandFailed | OSError) -> None:
        """Leave all as it is; say why, once."""
        if self._refused != shape(layout):
            words = error.facts.get("stderr", "") if isinstance(error, CommandFailed) else ""
            log.error("Load balancers of %s stay as they are: %s", self._account_id, error)
            log.error("%s", words)
        self._refused, self._refused_at = shape(layout), time.monotonic()

    def _open(self, layout: Layout) -> None:
        for where in layout.sockets():
            if where not in self._sockets:
                self._sockets[where] = _listening(*where)

    def _start(self, layout: Layout) -> Haproxy:
        self._started += 1
        return Haproxy(
            layout,
            directory=self._directory,
            name=str(self._started),
            namespace=self._namespace,
            sockets=[self._sockets[where] for where in layout.sockets()],
            on_line=self._count,
        )

    def _end_drains(self, draining: tuple[Key, ...]) -> None:
        """Forget the draining targets that no process sends to and that have no request."""
        mine = [key for key in draining if key[0].split(":")[4] == self._account_id]
        if not mine:
            return
        processes = [process for process in self._processes() if process.alive]
        busy = {server for process in processes for server in process.busy()}
        for arn, target, port in mine:
            server = (balancer_rules.group_name(arn), balancer_rules.target_name(target, port))
            if server not in busy and not any(process.knows(*server) for process in processes):
                with CONTROL:
                    if (arn, target, port) in HEALTH.draining(arn):
                        HEALTH.forget(arn, target, port)

    def _count(self, line: str) -> bool:
        if entry := parse(line):
            self._tally.count(entry)
        return entry is not None

    def _tell(self, *, unfinished: bool = False) -> None:
        """Publish the seconds that are over."""
        data = [
            datum
            for second, counted in self._tally.take(unfinished=unfinished).items()
            for datum in metric_data(second, counted)
        ]
        if (now := int(time.time())) != self._told:
            self._told = now
            data += host_counts(now - 1, self._hosts())
        if data:
            self._publish(self._account_id, data)

    def _hosts(self) -> dict[tuple[str, str], tuple[int, int]]:
        with CONTROL:
            hosts = {}
            for arn, balancer in balancer_rules.in_use(self._backend).items():
                group = self._backend.target_groups.get(arn)
                found = [HEALTH.find(*key) for key in balancer_rules.keys(group)] if group else []
                states = [health.state for health in found if health]
                where = (balancer.split(":loadbalancer/")[1], arn.rsplit(":", 1)[1])
                hosts[where] = (states.count("healthy"), states.count("unhealthy"))
            return hosts

    def _checks(self) -> list[Check]:
        with CONTROL:
            return list(balancer_rules.checks(self._backend))

    def _found(self, key: Key, health: TargetHealth) -> None:
        with CONTROL:
            group = self._backend.target_groups.get(key[0])
            if group is None or key not in balancer_rules.keys(group):
                return  # deregistered meanwhile
            changed = HEALTH.find(*key) != health
            HEALTH.write(*key, health)
        if changed:
            log.info("target %s of %s: %s", key[1], key[0], health)
            self.wake()


_planes: dict[str, Plane] = {}


def wake(account_id: str) -> None:
    """Let an account's load balancers follow a change at once, if they run."""
    if plane := _planes.get(account_id):
        plane.wake()


def carries(account_id: str, key: Key) -> bool:
    """Tell whether requests can be sent to a target; always, if no load balancers run."""
    plane = _planes.get(account_id)
    return plane is None or plane.carries(key)


@contextmanager
def running(
    places: Places, networks: Mapping[str, str], *, publish: Publish = publish
) -> Iterator[None]:
    """Carry requests for as long as the block runs.

    Args:
        places: Of the sandbox.
        networks: Account id → name of its network namespace.
        publish: Takes the metrics.
    """
    with ExitStack() as stack:
        for account_id, namespace in networks.items():
            plane = Plane(account_id, namespace, places, publish=publish)
            plane.start()
            stack.callback(plane.stop)
            _planes[account_id] = plane
            stack.callback(_planes.pop, account_id)
        yield


def _listening(address: str, port: int) -> socket.socket:
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, error.strerror, f"{address}:{port}") from error
    return listening
