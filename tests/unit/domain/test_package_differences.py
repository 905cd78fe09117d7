"""What is different between two packages."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.catalog import PackageFacts, PackageFile
from ovenbird.domain.package_differences import Change, differences

PATHS = st.sampled_from([f"/opt/{n}" for n in range(6)])
FILES = st.lists(
    st.builds(
        PackageFile,
        path=PATHS,
        mode=st.sampled_from([0o100644, 0o100755]),
        size_bytes=st.integers(0, 2),
        digest_sha256=st.sampled_from(["aa", "bb"]),
    ),
    unique_by=lambda file: file.path,
).map(tuple)
FACTS = st.builds(PackageFacts, files=FILES)


def test_each_aspect_of_a_file_is_named() -> None:
    old = PackageFile(path="/a", mode=0o100644, size_bytes=1, digest_sha256="aa")
    new = replace(old, mode=0o104755, owner="hello", size_bytes=2, digest_sha256="bb")

    [found] = differences(PackageFacts(files=(old,)), PackageFacts(files=(new,))).files

    assert found.change is Change.CHANGED
    assert found.aspects == {
        "mode": ("100644", "104755"),
        "owner": ("root:root", "hello:root"),
        "size": ("1", "2"),
        "digest": ("aa", "bb"),
    }


def test_relations_scripts_and_components_are_compared_by_name() -> None:
    old = PackageFacts(
        relations={"Depends": ("a",), "Suggests": ("s",)},
        scripts={"postinst": "one\ntwo\n"},
        sbom='{"components": [{"name": "flask", "version": "2"}]}',
    )
    new = PackageFacts(
        relations={"Depends": ("a", "b")},
        scripts={"postinst": "one\nthree\n", "prerm": "x"},
        sbom='{"components": [{"name": "flask", "version": "3"}]}',
    )

    found = differences(old, new)

    assert [(one.name, one.change.value) for one in found.relations] == [
        ("Depends", "changed"),
        ("Suggests", "removed"),
    ]
    assert [(one.name, one.change.value) for one in found.scripts] == [
        ("postinst", "changed"),
        ("prerm", "added"),
    ]
    assert found.scripts[0].unified == ("@@ -1,2 +1,2 @@", " one", "-two", "+three")
    assert [(one.name, one.before, one.after) for one in found.components] == [
        ("flask", ("2",), ("3",))
    ]


@given(FACTS)
def test_a_package_does_not_differ_from_itself(facts: PackageFacts) -> None:
    assert differences(facts, facts).none


@given(FACTS, FACTS)
def test_what_is_said_of_files_leads_from_one_to_the_other(
    old: PackageFacts, new: PackageFacts
) -> None:
    changes = {one.path: one.change for one in differences(old, new).files}
    before, after = ({file.path: file for file in facts.files} for facts in (old, new))

    assert {p for p, change in changes.items() if change is Change.ADDED} == set(after) - set(
        before
    )
    assert {p for p, change in changes.items() if change is Change.REMOVED} == set(before) - set(
        after
    )
    assert {p for p in set(before) & set(after) if before[p] != after[p]} == {
        p for p, change in changes.items() if change is Change.CHANGED
    }
