"""The model hash in the settings of a picture."""

from __future__ import annotations

import pytest

from imagegen.media.metadata.infotext import format_a1111_parameters, parse_infotext
from tests.doubles import make_receipt

SHA256 = "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"


def test_the_model_hash_is_the_start_of_the_checksum() -> None:
    text = format_a1111_parameters(make_receipt(model_sha256=SHA256))
    settings = text.splitlines()[-1].split(", ")
    # Some programs read them by their positions.
    assert settings[:7] == [
        "Steps: 20", "Sampler: DPM++ 2M", "CFG scale: 3", "Seed: 7", "Size: 128x128", "Model hash: 6ce0161689",
        "Model: embedded",
    ]  # fmt: skip
    assert parse_infotext(text)["Model hash"] == "6ce0161689"


def test_a_variation_is_named_as_the_web_ui_does() -> None:
    text = format_a1111_parameters(make_receipt(variation_seed=5, variation_strength=0.25))
    assert ", RNG: CPU, Variation seed: 5, Variation seed strength: 0.25" in text
    settings = parse_infotext(text)
    assert (settings["Variation seed"], settings["Variation seed strength"]) == ("5", "0.25")
    assert "Variation" not in format_a1111_parameters(make_receipt())


@pytest.mark.parametrize("changes", [{}, {"model_sha256": None}])
def test_a_receipt_of_an_earlier_version_has_no_model_hash(changes: dict[str, object]) -> None:
    assert "Model hash" not in format_a1111_parameters(make_receipt(**changes))


def test_details_are_named_as_adetailer_does() -> None:
    receipt = make_receipt(detail_detector="faces", detail_prompt='a "big", red nose', detail_strength=0.5)
    settings = parse_infotext(format_a1111_parameters(receipt))
    assert {name: value for name, value in settings.items() if name.startswith("ADetailer")} == {
        "ADetailer model": "faces",
        "ADetailer prompt": 'a "big", red nose',
        "ADetailer confidence": "0.3",
        "ADetailer denoising strength": "0.5",
        "ADetailer inpaint only masked": "True",
        "ADetailer inpaint padding": "32",
    }
    assert "ADetailer" not in format_a1111_parameters(make_receipt())
