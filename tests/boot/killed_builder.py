"""A program that opens a builder, says so, and waits to be killed.

python -m tests.boot.killed_builder JSON
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

from ovenbird.aws.builder_resources import BuilderSpec
from ovenbird.aws.builders import Builders
from ovenbird.aws.images import Ec2Images
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.images import ImageId
from ovenbird.domain.recipes import RecipeStep, Shell
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.system.clock import SystemClock

OPEN = "the builder is open"


def main(asked: str) -> None:
    known = json.loads(asked)
    endpoint = Endpoint(url=known["url"], credentials_file=Path(known["credentials"]))
    account = endpoint.development
    spec = BuilderSpec(**known["spec"], answers_within=timedelta(seconds=60))
    home = Path(known["directory"])
    builders = Builders(account, spec, directory=home, tools=home, clock=SystemClock())
    base = Ec2Images(account).get(ImageId(known["image_id"]))
    state = RepositoryState(**known["repository"])
    step = RecipeStep(work=Shell(lines=(f"echo {OPEN}; sleep 60",)))
    with builders.open(base, key="2" * 64, repository=state, progress=say) as builder:
        builder.perform(step, directory=None)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
