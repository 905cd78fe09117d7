"""Relations in the words of each format."""

from __future__ import annotations

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Init, PackageFormat, RelationKind, Service
from ovenbird.domain.relations import parse, parse_for_one_format
from ovenbird.packaging.writing.relations import relations, rendered
from tests.unit.packaging.writing import service, spec

DEB, RPM, APK, ARCH = PackageFormat
DEPENDS = RelationKind.DEPENDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", ("nginx", "nginx", "nginx", "nginx")),
        ("a (>= 1.20)", ("a (>= 1.20)", "a >= 1.20", "a>=1.20", "a>=1.20")),
        ("a (<< 2)", ("a (<< 2)", "a < 2", "a<2", "a<2")),
        ("a (>> 2)", ("a (>> 2)", "a > 2", "a>2", "a>2")),
        ("a (= 1.0~rc1-2)", ("a (= 1.0~rc1-2)", "a = 1.0~rc1-2", "a=1.0_rc1-r2", "a=1.0rc1-2")),
    ],
)
def test_a_relation_is_said_in_each_formats_words(text: str, expected: tuple[str, ...]) -> None:
    assert tuple(rendered(parse(text), f, DEPENDS) for f in PackageFormat) == expected


def test_an_epoch_is_part_of_a_version() -> None:
    found = [rendered(parse("a (>= 1:2.0)"), f, DEPENDS) for f in (DEB, RPM, ARCH)]

    assert found == ["a (>= 1:2.0)", "a >= 1:2.0", "a>=1:2.0"]
    with pytest.raises(InvalidRequest, match="no epoch"):
        rendered(parse("a (>= 1:2.0)"), APK, DEPENDS)


def test_alternatives_are_said_where_they_can_be() -> None:
    either = parse("nginx (>= 1.20) | caddy")

    assert rendered(either, DEB, DEPENDS) == "nginx (>= 1.20) | caddy"
    assert rendered(either, RPM, DEPENDS) == "(nginx >= 1.20 or caddy)"
    for format_ in (APK, ARCH):
        with pytest.raises(
            InvalidRequest, match=rf"^{format_.value} cannot say `nginx \(>= 1.20\) \| caddy`"
        ):
            rendered(either, format_, DEPENDS)
        assert rendered(either, format_, RelationKind.RECOMMENDS) == "nginx>=1.20"


@pytest.mark.parametrize("kind", ["conflicts", "replaces", "provides"])
def test_what_excludes_or_provides_has_no_alternatives(kind: str) -> None:
    with pytest.raises(InvalidRequest, match=f"`a | b` has alternatives, which `{kind}`"):
        rendered(parse("a | b"), DEB, RelationKind(kind))


def test_what_is_provided_is_of_one_version() -> None:
    assert rendered(parse("a (= 1)"), RPM, RelationKind.PROVIDES) == "a = 1"
    with pytest.raises(InvalidRequest, match="cannot be provided"):
        rendered(parse("a (>= 1)"), RPM, RelationKind.PROVIDES)


def test_a_formats_own_words_stay_as_they_are() -> None:
    own = parse_for_one_format("/usr/bin/python3")

    assert rendered(own, RPM, DEPENDS) == "/usr/bin/python3"


def test_apk_depends_on_the_absence_of_what_it_conflicts_with() -> None:
    asked = spec(
        relations={
            DEPENDS: (parse("a"),),
            RelationKind.CONFLICTS: (parse("b"),),
            RelationKind.RECOMMENDS: (parse("c"),),
            RelationKind.SUGGESTS: (parse("d"),),
        }
    )

    assert relations(asked, APK) == {"depends": ["a", "!b"]}


def test_jobs_of_older_init_systems_want_cron() -> None:
    job = service(schedule="daily", user="root")

    def wanted(*init: Init, job: Service = job) -> list[dict[str, list[str]]]:
        return [relations(spec(services=(job,), init=init), format_) for format_ in PackageFormat]

    either = ["cron | cron-daemon"]
    assert wanted(Init.SYSV) == [
        {"depends": either}, {"depends": ["cronie"]}, {}, {"depends": ["cronie"]},
    ]  # fmt: skip
    assert wanted(Init.SYSTEMD, Init.UPSTART)[:3] == [
        {"recommends": either}, {"recommends": ["cronie"]}, {},
    ]  # fmt: skip
    assert wanted(Init.SYSTEMD) == [{}] * 4
    assert wanted(Init.SYSV, job=service(user="root")) == [{}] * 4


def test_what_cannot_be_satisfied_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="`hello` depends on itself"):
        relations(spec(relations={DEPENDS: (parse("hello"),)}), DEB)
    with pytest.raises(InvalidRequest, match="depends on `a` and conflicts with it"):
        relations(
            spec(relations={DEPENDS: (parse("a"),), RelationKind.CONFLICTS: (parse("a"),)}), DEB
        )
    own = {DEPENDS: (parse("a | hello"),), RelationKind.CONFLICTS: (parse("a (<< 1)"),)}
    assert relations(spec(relations=own), DEB)["depends"] == ["a | hello"]
