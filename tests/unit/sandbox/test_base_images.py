from __future__ import annotations

import re
from pathlib import Path

from ovenbird.sandbox.base_images import PACKAGES, image_name, mmdebstrap, recipe_key


def test_the_recipe_decides_the_name() -> None:
    assert re.fullmatch(r"[0-9a-f]{10}", recipe_key())
    assert image_name() == f"debian-12-amd64-{recipe_key()}"


def test_the_mirrors_are_the_machines_own() -> None:
    line = mmdebstrap(Path("/t"), sources=[Path("/s")], checks=['Acquire::Check-Date "false"'])

    assert line[-3:] == ["bookworm", "/t", "/s"]
    assert '--aptopt=Acquire::Check-Date "false"' in line
    assert f"--include={','.join(PACKAGES)}" in line
