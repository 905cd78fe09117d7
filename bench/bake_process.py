"""One bake of ours in a process of its own: `python -m bench.bake_process JSON`; prints the image.

Only for the benchmark, which says what it takes to begin from nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.bake_packages import Published
from bench.bake_sandbox import BenchSandbox
from bench.bakers import STATE, Bakery, direct
from ovenbird.aws.images import Ec2Images
from ovenbird.config.settings import cache_home
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.images import ImageId, PackagePin
from ovenbird.sandbox import lifecycle
from ovenbird.sandbox.places import Places


def main() -> None:
    """Bake what the first word says."""
    told = json.loads(sys.argv[1])
    places = Places(home=Path(told["home"]) / "sandbox", cache=cache_home())
    sandbox = BenchSandbox(places=places, running=lifecycle.get(places), namespace="")
    name, version, architecture, digest = told["pin"]
    pin = PackagePin(name=name, version=version, architecture=architecture, digest_sha256=digest)
    state = RepositoryState(**dict(zip(STATE, told["state"], strict=True)))
    bakery = Bakery(
        sandbox=sandbox,
        published=Published(pins={told["size"]: pin}, state=state, directory=Path()),
        base=Ec2Images(sandbox.account).get(ImageId(told["base"])),
        work=Path(told["work"]),
        inside=[],
    )
    print(direct(bakery, pin, told["name"]).image_id)


if __name__ == "__main__":
    main()
