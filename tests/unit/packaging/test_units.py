from __future__ import annotations

from ovenbird.domain.packages import PackageSpec, Service
from ovenbird.packaging.units import unit


def test_a_service_starts_after_user_data_has_written_its_environment() -> None:
    service = Service(name="web", command="/opt/hello/bin/hello", user="hello")
    spec = PackageSpec(name="hello", maintainer="A <a@example.com>", services=(service,))
    lines = unit(spec, service).splitlines()

    assert "After=network.target cloud-init.service cloud-init-network.service" in lines
    assert "EnvironmentFile=-/etc/ovenbird/environment" in lines
