from __future__ import annotations

from ovenbird.domain.packages import PackageSpec, Service
from ovenbird.packaging.units import unit, unit_names


def test_a_service_starts_after_user_data_has_written_its_environment() -> None:
    service = Service(name="web", command="/opt/hello/bin/hello", user="hello")
    spec = PackageSpec(name="hello", maintainer="A <a@example.com>", services=(service,))
    lines = unit(spec, service).splitlines()

    assert "After=network.target cloud-init.service cloud-init-network.service" in lines
    assert "EnvironmentFile=-/etc/ovenbird/environment" in lines


def test_an_account_is_asked_for_without_a_group_that_it_may_not_have() -> None:
    service = Service(name="web", command="/usr/bin/nothing", user="nobody")
    spec = PackageSpec(name="hello", maintainer="A <a@example.com>", services=(service,))

    lines = unit(spec, service).splitlines()

    assert "User=nobody" in lines
    assert [line for line in lines if line.startswith("Group=")] == []


def test_values_reach_the_service_as_they_are_written() -> None:
    environment = {"A": 'say "hi"', "B": "100%", "C": "back\\slash"}
    service = Service(name="web", command="/usr/bin/nothing", environment=environment)
    spec = PackageSpec(name="hello", maintainer="A <a@example.com>", services=(service,))

    lines = [line for line in unit(spec, service).splitlines() if line.startswith("Environment=")]

    assert lines == [
        r'Environment="A=say \"hi\""',
        'Environment="B=100%%"',
        r'Environment="C=back\\slash"',
    ]


def test_units_are_called_like_their_package_while_that_keeps_them_apart() -> None:
    def names(*services: str) -> tuple[str, ...]:
        made = tuple(Service(name=name, command="/x") for name in services)
        return unit_names(PackageSpec(name="hello", maintainer="A <a@b.c>", services=made))

    assert names("web") == ("hello.service",)
    assert names("web", "worker") == ("hello.service", "hello-worker.service")
    assert names("web", "main") == ("hello-web.service", "hello-main.service")
