from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.config.places import Places
from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.sources import Source

MANIFEST = """\
app: hello
package:
  depends: [a]
  contents:
    - {from: a}
    - {from: b}
packages:
  hello.d:
    depends: [a]
"""
SOURCE = Source(url="u", ref="r", commit="c" * 40, committed_at_epoch_s=1, directory="apps/hello")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "ovenbird.yaml").write_text(MANIFEST)
    return Places(SOURCE, tmp_path)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("package.contents[1]: no", "apps/hello/ovenbird.yaml:6: `package.contents[1]`: no"),
        ("package.contents[7]: no", "apps/hello/ovenbird.yaml:4: `package.contents[7]`: no"),
        ("`hello: depends`: no", "apps/hello/ovenbird.yaml:3: `package.depends`: no"),
        ("`hello.d: depends`: no", "apps/hello/ovenbird.yaml:9: `packages.hello.d.depends`: no"),
        ("packages.hello.d.x: no", "apps/hello/ovenbird.yaml:8: `packages.hello.d.x`: no"),
        ("x, by package.contents[0]", "x, by `package.contents[0]` (line 5)"),
        ("x; see `package.contents[0]`", "x; see `package.contents[0]` (line 5)"),
        ("`package.json` and the package.", "`package.json` and the package."),
        ("a\n`hello: depends`: b\nc", "a\napps/hello/ovenbird.yaml:3: `package.depends`: b\nc"),
    ],
)  # fmt: skip
def test_keys_in_errors_get_their_lines(places: Places, said: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught, places.named():
        raise InvalidRequest(said, hint="Mend it", place="there")

    assert (str(caught.value), caught.value.hint) == (words, "Mend it")
    assert caught.value.facts == {"place": "there"}


def test_other_errors_stay_what_they_are(places: Places) -> None:
    with pytest.raises(CommandFailed, match=r"^package.depends: no$"), places.named():
        raise CommandFailed("package.depends: no")
