"""Directories that belong to the system: a package puts things into them, and owns none.

An rpm that owned one with another mode or owner would not install beside Fedora's
`filesystem`; dpkg would take the mode of whoever comes last.

Source: Filesystem Hierarchy Standard 3.0; file lists of Fedora's `filesystem` and
Debian's `base-files`; file-hierarchy(7).
"""

from __future__ import annotations

_NAMES = """
bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var
etc/bash_completion.d etc/cron.d etc/cron.daily etc/cron.hourly etc/cron.monthly etc/cron.weekly
etc/default etc/init etc/init.d etc/logrotate.d etc/modules-load.d etc/opt etc/pam.d
etc/profile.d etc/rc.d etc/rc.d/init.d etc/security etc/skel etc/ssl etc/sudoers.d etc/sysconfig
etc/sysctl.d etc/systemd etc/systemd/system etc/tmpfiles.d etc/udev etc/udev/rules.d etc/xdg
lib/systemd lib/systemd/system lib/udev lib/udev/rules.d
usr/bin usr/games usr/include usr/lib usr/lib64 usr/libexec usr/local usr/sbin usr/share usr/src
usr/lib/sysctl.d usr/lib/systemd usr/lib/systemd/system usr/lib/systemd/system-preset
usr/lib/sysusers.d usr/lib/tmpfiles.d usr/lib/udev usr/lib/udev/rules.d
usr/local/bin usr/local/etc usr/local/games usr/local/include usr/local/lib usr/local/sbin
usr/local/share usr/local/src
usr/share/applications usr/share/bash-completion usr/share/bash-completion/completions
usr/share/doc usr/share/icons usr/share/info usr/share/licenses usr/share/locale usr/share/man
usr/share/misc usr/share/pixmaps
var/backups var/cache var/empty var/lib var/local var/lock var/log var/mail var/opt var/run
var/spool var/spool/cron var/tmp
"""
_MANUAL = {f"/usr/share/man/man{section}" for section in range(1, 10)}
_ALL = frozenset({"/", *(f"/{name}" for name in _NAMES.split()), *_MANUAL})


def is_the_systems(path: str) -> bool:
    """Tell whether a directory is the system's own.

    Args:
        path: Absolute, without a slash at its end.
    """
    return path in _ALL
