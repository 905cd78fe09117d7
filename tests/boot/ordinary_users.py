"""An account that is not root's, with ids of its own and FUSE, for one program's time.

Everything that it needs is shown to it in a mount namespace of its own: the host's files stay
as they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ID = 4242
ACCOUNT = "ovenbird-baker"
_SHOWN = """
set -e
cd "$0"
for name in passwd group; do cp /etc/$name $name; done
echo "$1:x:$2:$2::/:/bin/sh" >> passwd
echo "$1:x:$2:" >> group
for name in subuid subgid; do
    if [ "$3" = ids ]; then echo "$1:1000000:65536" > $name; else : > $name; fi
    touch /etc/$name
done
for name in passwd group subuid subgid; do mount --bind $name /etc/$name; done
if [ "$4" = fuse ]; then
    [ -e fuse ] || mknod fuse c 10 229
    chmod 666 fuse
    mount --bind fuse /dev/fuse
fi
user=$2 prefix=$5
shift 5
case $prefix in
/root/*)  # the interpreter lies in a home that nobody else may enter
    mkdir -p python
    mount --bind "$prefix" python
    mount -t tmpfs -o mode=755 tmpfs /root
    mkdir -p "$prefix"
    mount --bind python "$prefix"
esac
cd /
exec setpriv --reuid=$user --regid=$user --clear-groups -- "$@"
"""


@contextmanager
def home() -> Iterator[Path]:
    """Give a directory that belongs to the account, and takes what it does along."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ovenbird-baker-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "own").mkdir()
        os.chown(Path(name) / "own", ID, ID)
        yield Path(name)


def line(
    home: Path, argv: Sequence[str | Path], *, ids: bool = True, fuse: bool = True
) -> list[str]:
    """Return the line that runs a program as the account."""
    words = ["ids" if ids else "none", "fuse" if fuse else "none", sys.base_prefix]
    start = ["unshare", "--mount", "sh", "-c", _SHOWN, str(home), ACCOUNT, str(ID), *words]
    return [*start, *map(str, argv)]


def run(home: Path, argv: Sequence[str | Path], **how: bool) -> subprocess.CompletedProcess[str]:
    """Run a program as the account."""
    return subprocess.run(  # noqa: S603 - our own lines
        line(home, argv, **how), capture_output=True, text=True, check=False, timeout=300,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
