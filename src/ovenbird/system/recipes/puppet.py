"""Puppet manifests: `puppet apply` in the image, by its own Puppet, or by one that is lent.

    the image has Puppet? ─▶ that one
    else: a tree of Puppet, Ruby and the C library, lent ─▶ its loader starts its ruby

The loader gets the paths as arguments, not by the environment: what Puppet starts is the image's.
What Puppet writes for itself is below ``/run``, so that nothing of it stays in the image.
Source: ld.so(8), ``--library-path``; puppet-apply(8), ``--detailed-exitcodes``; Puppet 7
documentation, "Configuration: Configuration reference".
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import Puppet
from ovenbird.system.recipes import shell, tools
from ovenbird.system.recipes.doing import Doing
from ovenbird.system.recipes.step_hands import MEND

_OWN = ("puppet", "/opt/puppetlabs/bin/puppet")
_LIBRARIES = ("lib/*-linux-gnu", "usr/lib/*-linux-gnu")
_RUBY = (
    "usr/lib/ruby/vendor_ruby", "usr/lib/*/ruby/vendor_ruby/*", "usr/lib/ruby/vendor_ruby/[0-9]*",
    "usr/lib/ruby/[0-9]*", "usr/lib/*/ruby/[0-9]*",
    "usr/share/rubygems-integration/*/gems/*/lib", "usr/lib/*/rubygems-integration/*/gems/*/lib",
    "usr/share/rubygems-integration/*/gems/concurrent-ruby-[0-9]*/lib/concurrent-ruby",
)  # fmt: skip
# /sys: Facter lists block devices there, and a room has none.
_PLACES = ("vardir", "statedir", "rundir", "logdir", "ssldir", "codedir", "publicdir")
SCRIPT = f"""\
work=$(mktemp -d /run/ovenbird-puppet-XXXXXX)
trap 'rm -rf "$work"' EXIT
[ -d /sys/block ] || {{ mount -t tmpfs tmpfs /sys && mkdir /sys/block; }} 2>/dev/null || :
echo '[main]' >"$work/puppet.conf"
for name in {" ".join(_PLACES)}; do echo "$name = $work/$name" >>"$work/puppet.conf"; done
status=0
"$@" --confdir "$work" || status=$?
[ $status -ne 2 ] || status=0
exit $status
"""
_FAILED = re.compile(r"Error: (/Stage\[.*?\])(?:/\w+)?: ")


def run(work: Puppet, doing: Doing) -> None:
    """Apply a manifest in the image.

    Raises:
        CommandFailed: A resource failed, which is named; or Puppet cannot be lent.
        InvalidRequest: The manifest or the modules are missing.
    """
    manifest = doing.file(work.manifest)
    modules = doing.file(work.modules) if work.modules else None
    said = f"puppet apply {work.manifest}"
    doing.log(f"$ {said}")
    facts = {f"FACTER_{name}": value for name, value in doing.step.variables.items()}
    with (
        _puppet(doing) as puppet,
        doing.hands.lend(manifest) as lent,
        _lent(doing, modules) as path,
    ):
        argv = [*shell.line(SCRIPT), "puppet", *puppet, *options(path), lent]
        try:
            doing.hands.run(argv, said=said, hint=MEND, environment=facts)
        except CommandFailed as error:
            raise _named(error, doing.log.page) from error


def options(modules: str) -> list[str]:
    """Return the options of `puppet apply`.

    Args:
        modules: Directory of modules in the image; empty for none.
    """
    return [
        "--detailed-exitcodes",
        "--color", "false",
        "--logdest", "console",
        "--summarize",
        "--reports", "none",
        "--modulepath", modules,
    ]  # fmt: skip


def failed_resource(lines: Sequence[str]) -> str:
    """Return the first resource that failed, from what Puppet printed; or nothing."""
    return next((found[1] for line in lines if (found := _FAILED.match(line))), "")


@contextmanager
def _puppet(doing: Doing) -> Iterator[list[str]]:
    """Yield the command that is Puppet in the image: its own, or a lent one."""
    if (own := shell.first_of(_OWN, doing)) is not None:
        yield [own, "apply"]
        return
    _refuse_other_processor(doing)
    tree = tools.puppet(doing.tools)
    with doing.hands.lend(tree) as lent:
        yield lent_command(tree, lent)


def _refuse_other_processor(doing: Doing) -> None:
    """Only a builder instance can have another one than this host."""
    ours = platform.machine()
    asked = ["sh", "-c", 'test "$(uname -m)" = "$1"', "uname", ours]
    if doing.hands.status(asked, said="uname -m"):
        raise CommandFailed(
            f"The bake failed: `{doing.step.shown}` needs Puppet in the image; ours is for {ours}",
            hint=tools.NO_PUPPET,
        )


def lent_command(tree: Path, lent: str) -> list[str]:
    """Return the command of a lent Puppet.

    Args:
        tree: As :func:`ovenbird.system.recipes.tools.puppet` makes it.
        lent: Where it is in the image.
    """
    loader = next(iter(sorted(tree.glob("lib/*/ld-linux*.so.*"))))
    ruby = next(iter(sorted(tree.glob("usr/bin/ruby[0-9]*"))))

    def inside(path: Path) -> str:
        return f"{lent}/{path.relative_to(tree)}"

    modules = f"{lent}/{tools.PUPPET_MODULES}"
    libraries = [inside(path) for pattern in _LIBRARIES for path in sorted(tree.glob(pattern))]
    loaded = [inside(path) for pattern in _RUBY for path in sorted(tree.glob(pattern))]
    return [
        inside(loader), "--library-path", ":".join(libraries), inside(ruby),
        *(part for path in loaded for part in ("-I", path)),
        f"{lent}/usr/bin/puppet", "apply", "--vendormoduledir", modules,
    ]  # fmt: skip


@contextmanager
def _lent(doing: Doing, path: Path | None) -> Iterator[str]:
    if path is None:
        yield ""
        return
    with doing.hands.lend(path) as lent:
        yield lent


def _named(error: CommandFailed, page: Sequence[str]) -> CommandFailed:
    if not (resource := failed_resource(page)):
        return error
    text = f"{error}, in `{resource}`"
    return CommandFailed(text, hint=error.hint, **error.facts, resource=resource)
