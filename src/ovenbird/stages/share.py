"""Let others use an image, all of it or nothing.

    observe ─▶ plan ─▶ action ─▶ action … ─▶ verify ─▶ the image of each environment
                          └── an error ─▶ all that this run added is taken back, last first

A run that is killed leaves what it did; the next one finds it, and does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from ovenbird.domain.errors import CloudError, NotFound, OvenbirdError
from ovenbird.domain.images import Image
from ovenbird.domain.ports import Progress
from ovenbird.domain.sharing import (
    AllowKey,
    AllowLaunch,
    AllowVolumes,
    CopyInto,
    CopyToRegion,
    Held,
    Key,
    Observed,
    ShareAction,
    ShareRequest,
    ShareTarget,
    Verify,
    WriteTags,
    plan_sharing,
    tags_there,
    words,
)
from ovenbird.domain.sharing_ports import ImageSharing


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Both sides.

    Args:
        owner: Region → the images of the account that bakes, there.
        there: Environment → the images of its account, in its Region.
    """

    owner: Callable[[str], ImageSharing]
    there: Mapping[str, ImageSharing]


def share(request: ShareRequest, *, doors: Doors, progress: Progress) -> dict[str, Image]:
    """Share an image and return, by environment, what is launched there; safe to repeat.

    When any part fails, what this call added is taken back, and the error says so.

    Raises:
        NotFound: Another account does not see the image.
        Conflict: Another image has the name of a copy.
        CloudError: AWS refused a call.
    """
    observed = observe(request, doors=doors)
    return carry_out(request, observed, plan_sharing(request, observed), doors, progress)


def observe(request: ShareRequest, *, doors: Doors) -> Observed:
    """Look at both sides; nothing is changed."""
    return Observed(
        regions={region: _held(request, region, doors) for region in request.regions},
        environments={
            target.environment: _seen(request, target, doors)
            for target in request.targets
            if not request.is_home(target)
        },
    )


def carry_out(
    request: ShareRequest,
    observed: Observed,
    actions: tuple[ShareAction, ...],
    doors: Doors,
    progress: Progress,
) -> dict[str, Image]:
    """Do what was planned, or nothing; return what each environment launches.

    Raises:
        OvenbirdError: An action failed; what could not be taken back is said.
    """
    work = _Work(request=request, doors=doors, progress=progress)
    work.owned |= {r: held.image for r, held in observed.regions.items() if held.image}
    for target in request.targets:
        seen = observed.environments.get(target.environment)
        if request.is_home(target):
            work.result[target.environment] = request.image
        elif seen is not None:
            work.result[target.environment] = seen
    try:
        for action in actions:
            work.do(action)
    except OvenbirdError as error:
        raise work.taken_back(error) from error
    except BaseException:  # a person's Ctrl-C
        work.take_back()
        raise
    return work.result


def _held(request: ShareRequest, region: str, doors: Doors) -> Held:
    door = doors.owner(region)
    image = request.image
    if region != request.region:
        wanted = request.key_in(region)
        found = door.find_copy(image, region=request.region)
        if found is None:
            return Held(image=None, key=door.key(wanted) if wanted else None)
        image = found
    key = _customer_key(door, image)
    return Held(
        image=image,
        key=key,
        permissions=door.permissions(image),
        grantees=door.grantees(key.arn) if key else frozenset(),
    )


def _customer_key(door: ImageSharing, image: Image) -> Key | None:
    return door.key(image.kms_key) if image.kms_key else None


def _seen(request: ShareRequest, target: ShareTarget, doors: Doors) -> Image | None:
    door = doors.there[target.environment]
    if request.is_copying(target):
        return door.find_copy(request.image, region=request.region)
    source = request.image
    if target.region != request.region:
        copied = doors.owner(target.region).find_copy(source, region=request.region)
        if copied is None:
            return None
        source = copied
    try:
        return door.get(source.image_id)
    except NotFound:
        return None


@dataclass(slots=True, kw_only=True)
class _Undo:
    """What takes an action back; it may be done although the action was not."""

    text: str
    back: Callable[[], None]
    done: bool = False


@dataclass(slots=True, kw_only=True)
class _Work:
    """One sharing under way.

    Args:
        owned: Region → the owner's image there.
        result: Environment → what it launches.
        undos: Of the actions so far, first to last; the last one may have failed.
    """

    request: ShareRequest
    doors: Doors
    progress: Progress
    owned: dict[str, Image] = field(default_factory=dict)
    result: dict[str, Image] = field(default_factory=dict)
    undos: list[_Undo] = field(default_factory=list)

    def do(self, action: ShareAction) -> None:
        match action:
            case CopyToRegion() | CopyInto():
                self._copy(action)
            case AllowVolumes() | AllowLaunch() | AllowKey():
                self._allow(action)
            case WriteTags():
                self._write_tags(action)
            case Verify():
                self._verify(action)
            case _:
                assert_never(action)
        self._finished(action)

    def _finished(self, action: ShareAction) -> None:
        if not isinstance(action, Verify):
            self.undos[-1].done = True
            self.progress(words(action, self.request))

    def _undo_by(self, action: ShareAction, back: Callable[[], None]) -> None:
        """Keep how to take an action back, before it is done: it may fail after its effect."""
        text = words(action, self.request)
        self.undos.append(_Undo(text=text[0].lower() + text[1:], back=back))

    def _copy(self, action: CopyToRegion | CopyInto) -> None:
        if isinstance(action, CopyToRegion):
            door, key = self.doors.owner(action.region), action.kms_key
        else:
            door = self.doors.there[action.environment]
            key = self._target(action.environment).kms_key
        source, region = self.request.image, self.request.region
        self._undo_by(action, lambda: door.remove_copy(source, region=region))
        copied = door.copy(
            source,
            region=region,
            tags=tags_there(self.request),
            kms_key=key,
            progress=self.progress,
        )
        if isinstance(action, CopyToRegion):
            self.owned[action.region] = copied
        else:
            self.result[action.environment] = copied

    def _allow(self, action: AllowVolumes | AllowLaunch | AllowKey) -> None:
        door, image = self.doors.owner(action.region), self.owned[action.region]
        match action:
            case AllowVolumes():
                self._undo_by(action, lambda: door.deny_volumes(image, action.accounts))
                door.allow_volumes(image, action.accounts)
            case AllowLaunch():
                self._undo_by(action, lambda: door.deny_launch(image, action.principals))
                door.allow_launch(image, action.principals)
            case AllowKey():
                self._undo_by(action, lambda: door.revoke(action.key, action.grantee))
                door.grant(action.key, action.grantee)

    def _write_tags(self, action: WriteTags) -> None:
        door, image = self.doors.there[action.environment], self._seen(action.environment)
        wanted = tags_there(self.request)
        added = {key: value for key, value in wanted.items() if key not in image.tags}
        changed = {key: value for key, value in image.tags.items() if key in wanted}

        def back() -> None:
            door.remove_tags(image.image_id, tuple(added))
            if changed:
                door.write_tags(image.image_id, changed)

        self._undo_by(action, back)
        door.write_tags(image.image_id, wanted)

    def _verify(self, action: Verify) -> None:
        """Look from the other side.

        Raises:
            NotFound: It does not see the image.
            CloudError: It sees another image than ours, or could not launch it.
        """
        door = self.doors.there[action.environment]
        seen = door.await_seen(self._seen(action.environment).image_id)
        if not tags_there(self.request).items() <= seen.tags.items():
            raise CloudError(
                f"`{action.environment}` sees `{seen.image_id}` without the tags of "
                f"`{self.request.image.name}`",
                hint="Does something else change tags in that account?",
            )
        if doubt := door.launch_doubt(seen):
            self.progress(f"Whether `{action.environment}` could launch it is not known: {doubt}")
        self.result[action.environment] = seen

    def _seen(self, environment: str) -> Image:
        """Return what an environment sees, when it has come to see it."""
        if environment in self.result:
            return self.result[environment]
        image = self.owned[self._target(environment).region]
        self.result[environment] = self.doors.there[environment].await_seen(image.image_id)
        return self.result[environment]

    def _target(self, environment: str) -> ShareTarget:
        return next(one for one in self.request.targets if one.environment == environment)

    def taken_back(self, error: OvenbirdError) -> OvenbirdError:
        """Take everything back, and return the error with what became of it."""
        failed = self.take_back()
        undone = [undo.text for undo in reversed(self.undos) if undo.done and undo not in failed]
        text, hint = str(error), error.hint
        if undone:
            text += "; taken back: " + ", ".join(undone)
        if failed:
            text += "; not taken back: " + ", ".join(undo.text for undo in failed)
            hint = f"{hint}. " if hint else ""
            hint += "Share it again, or take back by hand what is named"
        return type(error)(text, hint=hint, **error.facts)

    def take_back(self) -> list[_Undo]:
        """Take back, last first, and return what could not be."""
        failed = []
        for undo in reversed(self.undos):
            try:
                undo.back()
            except OvenbirdError as error:
                undo.text = f"{undo.text} ({error})"
                failed.append(undo)
        return failed
