"""Systemd units made from a manifest's services, hardened by default.

Source: systemd.service(5), systemd.exec(5); cloud-init, "Boot stages": `write_files` runs in
the network stage, which not every distribution orders before sysinit.target.
"""

from __future__ import annotations

from ovenbird.domain.packages import PackageSpec, Service

ENVIRONMENT_FILE = "/etc/ovenbird/environment"  # written by user data before the service starts


def unit_name(package: str, service: Service) -> str:
    """Return the unit's name: the package's own for its service of the same name."""
    own = service.name in {package, "web", "main"}
    return f"{package}.service" if own else f"{package}-{service.name}.service"


def unit_names(spec: PackageSpec) -> tuple[str, ...]:
    """Return the names of all units of a package, in the manifest's order.

    Two services with the same unit name keep apart by their own names.
    """
    names = [unit_name(spec.name, service) for service in spec.services]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{spec.name}-{service.name}.service" for service in spec.services)


def unit(spec: PackageSpec, service: Service) -> str:
    """Return the text of one unit file."""
    reload = service.config_reload.removeprefix("SIG")
    lines = [
        "[Unit]",
        f"Description={spec.description or spec.name} ({service.name})",
        # cloud-init's stage that writes the environment file, by its names of old and new
        # (24.3); where it is not installed, the line says nothing.
        "After=network.target cloud-init.service cloud-init-network.service",
        "",
        "[Service]",
        "Type=exec",
        f"User={service.user}",  # in its own first group: not every account has one of its name
        f"ExecStart={service.command}",
        *([f"ExecReload=/bin/kill -{reload} $MAINPID"] if reload else []),
        f"EnvironmentFile=-{ENVIRONMENT_FILE}",
        *(f"Environment={_quoted(f'{k}={v}')}" for k, v in service.environment.items()),
        f"Restart={service.restart}",
        "RestartSec=1",
        f"StateDirectory={spec.name}",
        f"RuntimeDirectory={spec.name}",
        "LimitNOFILE=65536",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectHome=yes",
        "ProtectSystem=strict",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "RestrictSUIDSGID=yes",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Quote as systemd.syntax(7) says; a percent sign would begin a specifier."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + escaped.replace("\n", "\\n") + '"'
