"""The table of readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imagegen.media.metadata.found import FoundSettings, check_amount
from imagegen.media.metadata.readers.civitai import read_civitai
from imagegen.media.metadata.readers.comfyui import read_comfyui
from imagegen.media.metadata.readers.draw_things import read_draw_things
from imagegen.media.metadata.readers.easy_diffusion import read_easy_diffusion
from imagegen.media.metadata.readers.fooocus import read_fooocus
from imagegen.media.metadata.readers.infotext import read_infotext
from imagegen.media.metadata.readers.invokeai import read_invokeai
from imagegen.media.metadata.readers.novelai import read_novelai
from imagegen.media.metadata.readers.studio import read_studio
from imagegen.media.metadata.readers.swarmui import read_swarmui

Reader = Callable[[Mapping[str, str]], FoundSettings | None]
# The first that finds settings decides. Several tools write infotext, and also what they have themselves.
READERS: tuple[Reader, ...] = (
    read_studio,
    read_swarmui,
    read_fooocus,
    read_invokeai,
    read_novelai,
    read_draw_things,
    read_civitai,
    read_easy_diffusion,
    read_infotext,
    read_comfyui,
)


def find_settings(texts: Mapping[str, str]) -> FoundSettings | None:
    """Returns the settings in the texts of a picture file; None if no reader finds any. Raises InvalidRequest."""
    check_amount(texts)
    return next((found for read in READERS if (found := read(texts)) is not None and found.settings), None)
