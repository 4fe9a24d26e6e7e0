"""FLUX.1 Kontext, which edits a picture as the prompt says: its denoiser gets it beside the one that it paints."""

from __future__ import annotations

from imagegen.engine.families.flux import Flux
from imagegen.library.family_facts import FLUX_KONTEXT
from imagegen.schema.sizes import Size


class FluxKontext(Flux):
    facts = FLUX_KONTEXT

    def build_size_arguments(self, size: Size) -> dict[str, object]:
        """The pipeline would make pictures of a million pixels, and resize the start image to another shape."""
        width, height = size
        return {**super().build_size_arguments(size), "max_area": width * height, "_auto_resize": False}
