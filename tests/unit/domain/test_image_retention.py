"""Which images may go: nothing that is used, nothing young, one step at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import Conflict
from ovenbird.domain.image_retention import (
    KEEP_TAG,
    RETIRED_TAG,
    ImageChoice,
    ImageLimits,
    ImageUse,
    Step,
    plan_images,
    refuse_strange,
)
from ovenbird.domain.images import APP_TAG, DISABLED, Image, ImageId, SnapshotId

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LIMITS = ImageLimits(keep_last=2, keep_days=30, disable_after_days=7, remove_after_days=30)


def image(
    number: int, *, days: float, app: str = "hello", state: str = "available", **tags: str
) -> Image:
    return Image(
        image_id=ImageId(f"ami-{app}-{number}"), name=f"{app}-{number}", owner_id="1" * 12,
        root_snapshot_id=SnapshotId(f"snap-{number}"), root_device_name="/dev/xvda",
        architecture="x86_64", boot_mode="", ena=True, imds_v2=True, size_gib=4,
        created_at=NOW - timedelta(days=days), state=state, tags={APP_TAG: app, **tags},
    )  # fmt: skip


def retired(days: float) -> dict[str, str]:
    return {RETIRED_TAG: (NOW - timedelta(days=days)).isoformat()}


def steps(images: list[Image], *uses: ImageUse, limits: ImageLimits = LIMITS) -> dict[str, Step]:
    chosen = plan_images(images, uses, limits=limits, now=NOW)
    return {one.image.image_id: one.step for one in chosen}


def test_an_old_image_that_nothing_uses_goes_step_by_step() -> None:
    young = [image(1, days=1), image(2, days=2)]
    old = [
        image(3, days=50),
        image(4, days=60, **retired(3)),
        image(5, days=70, **retired(8)),
        image(6, days=80, state=DISABLED, **retired(9)),
        image(7, days=90, state=DISABLED, **retired(31)),
    ]

    assert steps(young + old) == {
        "ami-hello-1": Step.STAY, "ami-hello-2": Step.STAY, "ami-hello-3": Step.DEPRECATE,
        "ami-hello-4": Step.STAY, "ami-hello-5": Step.DISABLE, "ami-hello-6": Step.STAY,
        "ami-hello-7": Step.REMOVE,
    }  # fmt: skip


def test_what_is_used_again_is_restored() -> None:
    images = [image(1, days=1), image(2, days=2), image(3, days=90, state=DISABLED, **retired(9))]

    assert steps(images, ImageUse(image_id=ImageId("ami-hello-3"), reason="it runs"))[
        "ami-hello-3"
    ] is Step.RESTORE  # fmt: skip


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (image(3, days=20), "it is not older than 30 days"),
        (image(3, days=90, **{KEEP_TAG: "yes"}), "it has the tag `ovenbird:keep`"),
        (image(3, days=-1), "it was made in the future: a clock is wrong"),
    ],
)
def test_why_an_unused_image_stays(kept: Image, reason: str) -> None:
    newer = [replace(image(n, days=-2), created_at=kept.created_at + timedelta(1)) for n in (1, 2)]

    choices = plan_images([*newer, kept], (), limits=LIMITS, now=NOW)

    assert (choices[-1].step, choices[-1].reason) == (Step.STAY, reason)


def test_each_app_keeps_its_newest_images() -> None:
    images = [image(n, days=100 + n, app=app) for app in ("hello", "other") for n in range(3)]

    chosen = steps(images)

    assert [name for name, step in chosen.items() if step is Step.DEPRECATE] == [
        "ami-hello-2", "ami-other-2",
    ]  # fmt: skip


def test_one_run_takes_so_many_the_oldest_first() -> None:
    images = [image(n, days=100 + n) for n in range(6)]

    chosen = steps(images, limits=replace(LIMITS, keep_last=1, at_once=2))

    assert [name for name, step in chosen.items() if step is Step.DEPRECATE] == [
        "ami-hello-4", "ami-hello-5",
    ]  # fmt: skip


def test_records_that_look_wrong_stop_everything() -> None:
    images, expected = [image(1, days=1)], {"ami-hello-1": "hello-prod"}

    with pytest.raises(Conflict, match="`hello-prod` runs `ami-hello-1`, and nothing in AWS"):
        refuse_strange(images, (), expected=expected)
    refuse_strange(
        images, (ImageUse(image_id=ImageId("ami-hello-1"), reason="it runs"),), expected=expected
    )


IMAGES = st.lists(
    st.builds(
        lambda number, days, app, state, since: image(
            number, days=days, app=app, state=state, **({} if since is None else retired(since))
        ),
        number=st.integers(0, 1000),
        days=st.floats(-5, 400),
        app=st.sampled_from(["hello", "other"]),
        state=st.sampled_from(["available", DISABLED]),
        since=st.none() | st.floats(0, 100),
    ),
    unique_by=lambda one: one.image_id,
    max_size=30,
)
ANY_LIMITS = st.builds(
    ImageLimits,
    keep_last=st.integers(1, 5),
    keep_days=st.floats(0, 100),
    disable_after_days=st.floats(0, 10),
    remove_after_days=st.floats(10, 40),
    at_once=st.integers(1, 5),
)


@given(images=IMAGES, limits=ANY_LIMITS, data=st.data())
def test_nothing_that_is_used_or_newest_or_young_ever_goes(
    images: list[Image], limits: ImageLimits, data: st.DataObject
) -> None:
    used = data.draw(st.sets(st.sampled_from([one.image_id for one in images] or [ImageId("-")])))
    uses = [ImageUse(image_id=one, reason="it runs") for one in used]

    choices = plan_images(images, uses, limits=limits, now=NOW)

    going = [one for one in choices if one.step not in {Step.STAY, Step.RESTORE}]
    assert len(choices) == len(images)
    assert len(going) <= limits.at_once
    assert not used & {one.image.image_id for one in going}
    assert all(one.image.created_at < NOW - timedelta(days=limits.keep_days) for one in going)
    assert all(_newer(one, images) >= limits.keep_last for one in going)
    assert all(RETIRED_TAG in one.image.tags for one in going if one.step is not Step.DEPRECATE)


def _newer(choice: ImageChoice, images: list[Image]) -> int:
    mine = (choice.image.created_at, choice.image.image_id)
    return sum(
        other.app == choice.image.app and (other.created_at, other.image_id) > mine
        for other in images
    )
