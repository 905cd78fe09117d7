"""What must not stay in an image: of the bake, of one machine, of the people who made it.

The lists are data; a shell script made of them runs inside of the image, in a chroot or on a
builder instance, so that no link of the image leads it out of there.

Source: systemd, "Safely Building Images", and machine-id(5); cloud-init documentation,
"clean"; EC2 user guide, "Recommendations for creating shared Linux AMIs"; file lists and
scripts of packages of Debian 12, Ubuntu 24.04 and Fedora.
"""

from __future__ import annotations

from collections.abc import Sequence

from ovenbird.domain.ports import Hands

TIMEOUT_S = 120.0

# Shell patterns, relative to the root.
OF_THE_BAKE = (
    "etc/apt/sources.list.d/ovenbird.list", "etc/yum.repos.d/ovenbird.repo",
    "tmp/*", "tmp/.[!.]*", "var/tmp/*", "var/tmp/.[!.]*",
    "root/.ansible", "root/.puppetlabs", "root/.chef",
)  # fmt: skip
OF_ONE_MACHINE = (
    "etc/ssh/ssh_host_*", "etc/nvme/hostid", "etc/nvme/hostnqn",
    "etc/udev/rules.d/70-persistent-*.rules", "etc/netplan/50-cloud-init.yaml",
    "etc/network/interfaces.d/50-cloud-init*",
    "etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
    "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed", "var/lib/random-seed", "boot/efi/loader/random-seed",
    "var/lib/systemd/timers/stamp-*", "var/lib/systemd/coredump/*", "var/crash/*",
    "var/lib/cloud/*", "var/lib/amazon/ssm/*",
    "var/lib/dhcp/*.lease*", "var/lib/dhclient/*.lease*", "var/lib/dhcpcd/*.lease*",
    "var/lib/NetworkManager/*.lease", "var/lib/NetworkManager/secret_key",
    "var/lib/NetworkManager/seen-bssids", "var/lib/NetworkManager/timestamps",
    "var/lib/logrotate/status", "var/lib/logrotate.status", "var/lib/sudo/ts/*",
)  # fmt: skip
CACHES = (
    "var/cache/apt/*.bin", "var/cache/apt/archives/*.deb", "var/cache/apt/archives/lock",
    "var/cache/apt/archives/partial/*", "var/lib/apt/lists/*", "var/lib/apt/periodic/*",
    "var/lib/apt/daily_lock", "var/cache/dnf/*", "var/cache/yum/*", "var/cache/libdnf5/*",
    "var/cache/ldconfig/aux-cache", "var/cache/debconf/*-old", "root/.cache",
)  # fmt: skip
BACKUPS = (
    "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-",
    "etc/.pwd.lock", "var/lib/dpkg/*-old", "var/lib/apt/extended_states~",
)  # fmt: skip
IN_HOMES = (
    ".*_history", ".lesshst", ".viminfo", ".wget-hsts", ".gnupg/random_seed",
    ".ssh/authorized_keys*", ".ssh/known_hosts*", ".sudo_as_admin_successful",
)  # fmt: skip
ACCOUNTS = (  # that distributions' images have for the person who launches them
    "admin", "almalinux", "centos", "cloud-user", "debian", "ec2-user", "fedora", "rocky", "ubuntu",
)  # fmt: skip
UNLESS_LINKED = ("var/lib/dbus/machine-id",)  # a link to the other one stays
ROTATED = (
    "*.[0-9]", "*.[0-9][0-9]", "*.old", "*.gz", "*.xz", "*.bz2", "*.zst",
    "*-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]", "*.journal", "*.journal~",
)  # fmt: skip
MACHINE_ID = "etc/machine-id"  # empty: made at the first boot. Source: machine-id(5)
LOGS = "var/log"  # files stay, empty, with owner and mode, for who writes to them

_RESOLVER = "etc/resolv.conf"


def clean(hands: Hands) -> None:
    """Remove inside of an image what must not stay in it.

    Raises:
        CommandFailed: Something cannot be removed.
    """
    hands.run(
        ["sh", "-e", "-c", script(), "clean", "/"],
        environment={},
        timeout_s=TIMEOUT_S,
        said="clean",
        hint="The last line above says what could not be removed",
    )


def clean_builder(hands: Hands) -> None:
    """Clean a builder instance, whose DHCP client wrote its name servers as a file.

    Raises:
        CommandFailed: Something cannot be removed.
    """
    clean(hands)
    hands.run(
        ["sh", "-e", "-c", f"[ -L /{_RESOLVER} ] || : >/{_RESOLVER}"],
        environment={},
        timeout_s=TIMEOUT_S,
        said="clean the name servers",
        hint="",
    )


def script() -> str:
    """Return the shell script; its first argument is the root."""
    named = " ".join(f"-o -name '{pattern}'" for pattern in ROTATED).removeprefix("-o ")
    # One that says `uninitialized`, or is empty, stays as it is.
    identity = f"grep -Eqs '^[0-9a-f]{{32}}$' {MACHINE_ID}"
    # In one walk rotated files go and the others are emptied. `-P`: no link is followed.
    emptied = "-size +0 -exec truncate -s 0 {} +"
    logs = rf"find -P {LOGS} -type f \( \( {named} \) -delete -o {emptied} \)"
    return "\n".join(
        (
            'cd "$1"',
            f"rm -rf -- {' '.join(patterns())}",
            *(f"[ -L {path} ] || rm -f -- {path}" for path in UNLESS_LINKED),
            f"[ -L {MACHINE_ID} ] || ! {identity} || : >{MACHINE_ID}",
            f"[ -L {LOGS} ] || [ ! -d {LOGS} ] || {logs}",
        )
    )


def patterns() -> Sequence[str]:
    """Return the patterns of everything that goes, relative to the root."""
    homes = ("root", *(f"home/{name}" for name in ACCOUNTS))
    in_homes = [f"{home}/{name}" for home in homes for name in IN_HOMES]
    return (*OF_THE_BAKE, *OF_ONE_MACHINE, *CACHES, *BACKUPS, *in_homes)
