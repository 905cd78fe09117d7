"""Make the app's git repository, with its history: tags v1.0.0, v1.1.0 and v1.2.0.

The same script makes the same commits, whoever runs it and wherever:
authors and dates are fixed.

    python3 make_repository.py DIRECTORY
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = "made-by-hello-example"  # in .git: this script may replace the repository
FILES = ("Makefile", "ovenbird.yaml", "bin/hello", "conf/hello.toml", "conf/nginx.conf")
FILES += ("hello/__init__.py", "hello/greeting.py", "hello/server.py", "tests/test_server.py")
VERSIONS = (
    ("v1.0.0", "say hello", "2026-01-05T09:00:00+0000"),
    ("v1.1.0", "greet with an exclamation mark", "2026-02-03T09:00:00+0000"),
    ("v1.2.0", "count the visitors", "2026-03-02T09:00:00+0000"),
)
PERSON = {"NAME": "Hello Team", "EMAIL": "hello@example.com"}


def git(repository: Path, *words: str, date: str) -> None:
    """Run git with a fixed author, a fixed date and no one's configuration."""
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{
            f"GIT_{role}_{key}": text
            for role in ("AUTHOR", "COMMITTER")
            for key, text in PERSON.items()
        },
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    argv = ["git", "-C", str(repository), "-c", "core.autocrlf=false", *words]
    subprocess.run(argv, env=environment, check=True)  # noqa: S603


def copy(source: Path, target: Path) -> None:
    """Copy one file; git keeps whether it can be run, and nothing else of its mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if target.parent.name == "bin" else 0o644)


def clear(repository: Path) -> None:
    """Remove what an earlier run made, and nothing else."""
    if (repository / ".git" / MARK).exists():
        shutil.rmtree(repository)
    if repository.exists() and any(repository.iterdir()):
        sys.exit(f"{repository} is not empty and was not made by this script")
    repository.mkdir(parents=True, exist_ok=True)


def main() -> None:
    """Make the repository that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY")
    repository = Path(sys.argv[1]).absolute()
    clear(repository)
    git(repository, "init", "--quiet", "--initial-branch=main", date=VERSIONS[0][2])
    (repository / ".git" / MARK).touch()
    for name in FILES:
        copy(HERE / name, repository / name)
    copy(HERE / "gitignore", repository / ".gitignore")
    for tag, subject, date in VERSIONS:
        changed = HERE / "history" / tag
        for path in sorted(changed.rglob("*.py")):
            copy(path, repository / path.relative_to(changed))
        git(repository, "add", "--all", date=date)
        git(repository, "commit", "--quiet", "--no-gpg-sign", "--message", subject, date=date)
        git(repository, "tag", "--annotate", "--no-sign", "--message", tag, tag, date=date)


if __name__ == "__main__":
    main()
