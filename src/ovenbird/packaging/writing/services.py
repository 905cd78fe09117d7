"""The files that make an init system run a package's services.

systemd   NAME.service, NAME.timer for a schedule; for rpm a preset that says what is enabled
upstart   /etc/init/NAME.conf            a schedule: /etc/cron.d/NAME
sysv      /etc/init.d/NAME               a schedule: /etc/cron.d/NAME
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Init, PackageFormat, PackageSpec, Service
from ovenbird.packaging.writing import cron, systemd, sysv, upstart

PRESETS = "/usr/lib/systemd/system-preset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFile:
    """One file that is made for a service.

    Args:
        path: Absolute, on the machine.
        config: Whether an operator's changes are kept (Debian policy 9.3.2: init scripts).
        place: The manifest's key of the service.
    """

    path: str
    text: str
    mode: int = 0o644
    config: bool = False
    place: str = ""


def names(spec: PackageSpec) -> tuple[str, ...]:
    """Return what init systems call the services, in the manifest's order.

    The package's own name for its service of the same name, `web` or `main`; two that would
    be called alike keep apart by their own names.
    """
    package = unit_word(spec.name)
    short = [_name(package, spec.name, service) for service in spec.services]
    if len(set(short)) == len(short):
        return tuple(short)
    return tuple(f"{package}-{service.name}" for service in spec.services)


def unit_word(package: str) -> str:
    """Return a package's name as units can have it.

    Source: systemd.unit(5), "Description": letters, digits, and ``:-_.``; no plus sign.
    """
    return package.replace("+", "-")


def named(spec: PackageSpec) -> tuple[tuple[str, Service], ...]:
    """Return services with their names."""
    return tuple(zip(names(spec), spec.services, strict=True))


def unit_directory(format_: PackageFormat) -> str:
    """Return where units are installed.

    Source: Debian 12 installs into /lib, which may be a directory of its own there; the others
    have merged it with /usr/lib.
    """
    return "/lib/systemd/system" if format_ is PackageFormat.DEB else "/usr/lib/systemd/system"


def service_files(spec: PackageSpec, format_: PackageFormat) -> tuple[ServiceFile, ...]:
    """Return the files for all services of a package.

    Raises:
        InvalidRequest: An init system that is asked for cannot run a service as it is said.
    """
    found: dict[str, ServiceFile] = {}
    makers = {Init.SYSTEMD: _systemd, Init.UPSTART: _upstart, Init.SYSV: _sysv}
    for init in spec.init:
        for file in makers[init](spec, format_):
            if found.setdefault(file.path, file) != file:  # upstart and sysv share cron's entries
                raise InvalidRequest(
                    f"{file.place}: `{file.path}` is there already, by {found[file.path].place}",
                    hint="Rename one of the two services",
                )
    return tuple(found.values())


def _name(package: str, called: str, service: Service) -> str:
    own = service.name in {called, "web", "main"}
    return package if own else f"{package}-{service.name}"


def _systemd(spec: PackageSpec, format_: PackageFormat) -> Iterator[ServiceFile]:
    directory = unit_directory(format_)
    presets = []
    for name, service in named(spec):
        place = f"services.{service.name}"
        text = systemd.unit(spec, service)
        yield ServiceFile(path=f"{directory}/{name}.service", text=text, place=place)
        if service.schedule:
            text = systemd.timer(spec, service)
            yield ServiceFile(path=f"{directory}/{name}.timer", text=text, place=place)
        started = f"{name}.{'timer' if service.schedule else 'service'}"
        presets.append(f"{'enable' if service.enabled else 'disable'} {started}\n")
    if presets and format_ is not PackageFormat.DEB:
        path = f"{PRESETS}/50-{spec.name}.preset"
        yield ServiceFile(path=path, text="".join(presets), place="services")


def _upstart(spec: PackageSpec, _: PackageFormat) -> Iterator[ServiceFile]:
    for name, service in named(spec):
        place = f"services.{service.name}"
        if service.schedule:
            yield _cron(spec, service, name)
        else:
            text = upstart.job(spec, service)
            yield ServiceFile(path=f"/etc/init/{name}.conf", text=text, config=True, place=place)


def _sysv(spec: PackageSpec, format_: PackageFormat) -> Iterator[ServiceFile]:
    for name, service in named(spec):
        if service.schedule:
            yield _cron(spec, service, name)
        else:
            yield ServiceFile(
                path=f"/etc/init.d/{name}",
                text=sysv.script(spec, service, name=name, format_=format_),
                mode=0o755,
                config=True,
                place=f"services.{service.name}",
            )


def _cron(spec: PackageSpec, service: Service, name: str) -> ServiceFile:
    return ServiceFile(
        path=f"/etc/cron.d/{cron.entry_name(name)}",
        text=cron.entry(spec, service),
        config=True,
        place=f"services.{service.name}",
    )
