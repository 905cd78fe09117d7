"""Booting an image once by hand."""

from __future__ import annotations

from ovenbird.domain.boot_checks import Probe
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import Image
from ovenbird.domain.ports import Progress
from ovenbird.operations.images import list_images, meant
from ovenbird.operations.opening import Installation
from ovenbird.stages.boot_check import NOT_HERE, booted


def boot_image(
    installation: Installation, text: str, *, port: int, path: str, progress: Progress
) -> Image:
    """Boot an image, and return it with what came of it in its tags.

    Args:
        installation: Whose images.
        text: An id, a unique beginning of it, a name, or ``app@version``.
        port: At which its app answers; 0 not to ask.
        path: Of the app's health.
        progress: Told what happens.

    Raises:
        NotFound: There is no such image.
        InvalidRequest: It cannot be booted on this host.
        Unhealthy: It is not fit.
        CloudError: AWS refused a call.
    """
    image = meant(list_images(installation), text)
    ports = installation.ports
    boots = ports.boots
    why = boots.missing(image) if boots else NOT_HERE
    if boots is None or why:
        raise InvalidRequest(
            f"`{image.name}` cannot be booted here: {why}",
            hint="`bakes.boot_check_engine` in the settings says how images are booted",
        )
    probe = Probe(port=port, path=path, ignored=ports.boot_ignored)
    return booted(image, probe=probe, proving=ports.proving, boots=boots, progress=progress)
