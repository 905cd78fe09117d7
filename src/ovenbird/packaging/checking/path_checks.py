"""Checks of where a package puts what, with which mode, and for whom.

Source: Debian policy 9.1 (file system structure), 10.7 (configuration), 10.9 (permissions);
file-hierarchy(7); base-passwd, `passwd.master` and `group.master`; Fedora's `setup`.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from ovenbird.domain.catalog import Finding, PackageFile
from ovenbird.domain.packages import Content, ContentKind, PackageFormat
from ovenbird.packaging.reading.examined import (
    PROGRAM_PLACES,
    TOOL,
    Examined,
    is_base_program,
    is_below,
    merged,
    own_directories,
    target_of,
)
from ovenbird.packaging.writing.services import unit_word

# Of the machine or of its users, or gone at the next boot: nothing of a package belongs here.
FORBIDDEN = (
    "/home", "/root", "/tmp", "/run", "/dev", "/proc", "/sys", "/usr/local",  # noqa: S108
    "/var/run", "/var/tmp", "/var/lock",  # noqa: S108
)  # fmt: skip
# Directories of many packages, where each has files that begin with its name.
SNIPPETS = (
    "/usr/lib/systemd/*", "/etc/systemd/*", "/etc/init", "/etc/init.d", "/etc/cron.d",
    "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly",
    "/etc/logrotate.d", "/etc/nginx/conf.d", "/etc/nginx/sites-available",
    "/etc/nginx/sites-enabled", "/etc/nginx/snippets", "/etc/apache2/conf-available",
    "/etc/apache2/sites-available", "/etc/httpd/conf.d", "/etc/haproxy/conf.d",
    "/etc/rsyslog.d", "/etc/sysctl.d", "/usr/lib/sysctl.d", "/etc/tmpfiles.d",
    "/usr/lib/tmpfiles.d", "/etc/sysusers.d", "/usr/lib/sysusers.d", "/etc/modules-load.d",
    "/etc/profile.d", "/etc/security/limits.d", "/etc/udev/rules.d", "/usr/lib/udev/rules.d",
    "/etc/default", "/etc/sysconfig", "/etc/conf.d", "/etc/sudoers.d", "/etc/pam.d",
    "/etc/apparmor.d", "/etc/supervisor/conf.d", "/etc/dbus-1/*", "/usr/share/dbus-1/*",
    "/usr/share/man/*", "/usr/share/bash-completion/completions",
    "/usr/share/zsh/vendor-completions", "/usr/share/applications", "/usr/share/polkit-1/*",
    "/usr/share/lintian/overrides",
)  # fmt: skip
# Too wide to be asked for as a whole by a tree.
SHARED = {
    "/", "/etc", "/opt", "/srv", "/usr", "/usr/lib", "/usr/lib64", "/usr/share", "/usr/libexec",
    "/var", "/var/lib", "/var/log", "/var/cache", "/boot", "/mnt", "/media",
}  # fmt: skip
MADE_AT_RUN_TIME = (
    "/run", "/var/run", "/proc", "/sys", "/dev", "/tmp", "/etc/alternatives",  # noqa: S108
)  # fmt: skip


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


BASE_ACCOUNTS = _set(
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc _apt "
    "nobody nogroup adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip "
    "operator src shadow utmp video sasl plugdev staff users systemd-journal systemd-network "
    "systemd-resolve systemd-timesync messagebus input kvm render wheel ftp mem lock dbus"
)
_MAKES_ACCOUNTS = re.compile(r"\b(useradd|groupadd|adduser|addgroup|sysusers)\b")


def places(package: Examined) -> Iterator[Finding]:
    """Find what lies outside of the package's own directories."""
    for path, file in package.files.items():
        if path in package.parents and stat.S_ISDIR(file.mode):
            continue  # the way to something else
        if is_below(path, FORBIDDEN):
            text = "no package may install here: it is the machine's own, its users', or transient"
            yield _finding("foreign-path", "error", text, file)
        elif not _is_own(path, file, package) and not _is_asked(file.path, package):
            text = f"outside of the directories of a package called `{package.name}`"
            yield _finding("foreign-path", "warning", text, file)


def _is_own(path: str, file: PackageFile, package: Examined) -> bool:
    if is_below(path, own_directories(package.name)):
        return True
    parent = path.rpartition("/")[0]
    if parent in PROGRAM_PLACES and not stat.S_ISDIR(file.mode):
        return True
    below = PurePosixPath(path)
    own = {package.name, unit_word(package.name)}
    named = [part for part in below.parts if any(_begins_with(part, name) for name in own)]
    return bool(named) and any(
        fnmatchcase(parent, pattern)
        or fnmatchcase(parent, f"{pattern}/{named[0]}")
        or (pattern.endswith("/*") and is_below(parent, (pattern.removesuffix("/*"),)))
        for pattern in SNIPPETS
    )


def _begins_with(file_name: str, name: str) -> bool:
    """Tell whether a snippet is the package's, also with a number before: ``60-hello.conf``."""
    return re.match(rf"(\d+-)?{re.escape(name)}(?![A-Za-z0-9])", file_name) is not None


def _is_asked(path: str, package: Examined) -> bool:
    """Tell whether a content names a place: itself, or as a tree that is not too wide."""
    return any(
        content.destination == path
        or (content.destination not in SHARED and is_below(path, (content.destination,)))
        for content in _contents(package)
    )


def _contents(package: Examined) -> tuple[Content, ...]:
    return package.spec.contents_of(package.format) if package.spec else ()


def modes(package: Examined) -> Iterator[Finding]:
    """Find modes that give more than was asked for."""
    asked = {
        content.destination: content.mode
        for content in _contents(package)
        if content.mode is not None and content.kind is not ContentKind.TREE
    }
    for file in package.facts.files:
        if stat.S_ISLNK(file.mode):
            continue
        extra = file.mode & ~asked.get(file.path, 0)
        is_directory = stat.S_ISDIR(file.mode)
        if extra & stat.S_IWOTH and not (is_directory and file.mode & stat.S_ISVTX):
            yield _finding("world-writable", "error", "everyone may write to it", file)
        if extra & stat.S_ISUID and not is_directory:
            yield _finding("set-uid", "error", f"runs as `{file.owner}` whoever calls it", file)
        if extra & stat.S_ISGID:
            level = "warning" if is_directory else "error"  # a directory hands down its group
            yield _finding("set-gid", level, f"takes on the group `{file.group}`", file)


def configurations(package: Examined) -> Iterator[Finding]:
    """Find files below `/etc` that an upgrade would overwrite.

    Alpine keeps what was changed below `/etc` by itself. Source: apk-tools, protected paths.
    """
    if package.format is PackageFormat.APK:
        return
    configs = set(package.facts.configs)
    for file in package.facts.files:
        if file.path.startswith("/etc/") and stat.S_ISREG(file.mode) and file.path not in configs:
            text = "is no configuration: an upgrade overwrites what an operator changed in it"
            yield _finding("not-a-config", "warning", text, file)


def emptiness(package: Examined) -> Iterator[Finding]:
    """Find a package that neither holds nor depends on anything."""
    if package.dependencies or any(not stat.S_ISDIR(f.mode) for f in package.facts.files):
        return
    yield Finding(
        tool=TOOL, code="empty-package", level="error", text="installs nothing and needs nothing"
    )


def links(package: Examined) -> Iterator[Finding]:
    """Find symbolic links that lead nowhere."""
    for file in package.facts.files:
        if not stat.S_ISLNK(file.mode):
            continue
        place = package.resolved(file.path)
        end = package.files.get(place)
        is_loop = end is not None and stat.S_ISLNK(end.mode)
        if not is_loop and (package.has(place) or _is_elsewhere(place, package)):
            continue
        text = f"leads to `{target_of(file)}`, which is not there"
        yield _finding("dangling-symlink", "warning", text, file)


def _is_elsewhere(place: str, package: Examined) -> bool:
    """Tell whether something else is likely to be at a place."""
    if is_below(place, tuple(map(merged, MADE_AT_RUN_TIME))):
        return True
    if is_below(place, own_directories(package.name)):
        return is_below(place, (f"/var/lib/{package.name}", f"/var/log/{package.name}"))
    return bool(package.dependencies) or is_base_program(place, package.format)


def owners(package: Examined) -> Iterator[Finding]:
    """Find owners that nothing makes: files would belong to a number, or to root."""
    services = package.spec.services if package.spec else ()
    made = {account for service in services for account in (service.user, service.group)}
    makers = [text for text in package.facts.scripts.values() if _MAKES_ACCOUNTS.search(text)]
    for file in package.facts.files:
        for account in sorted({file.owner, file.group} - BASE_ACCOUNTS - made):
            word = re.compile(rf"(?<![\w-]){re.escape(account)}(?![\w-])")
            if any(word.search(text) for text in makers) or _is_brought(account, package):
                continue
            text = f"belongs to `{account}`, whom no service and no script makes"
            yield _finding("unknown-owner", "error", text, file)


def _is_brought(account: str, package: Examined) -> bool:
    """Tell whether a dependency is likely to make an account: `nginx` makes `nginx`."""
    return any(fnmatchcase(name, f"{account}*") for name in package.dependencies)


def _finding(code: str, level: str, text: str, file: PackageFile) -> Finding:
    return Finding(tool=TOOL, code=code, level=level, text=text, place=file.path)
