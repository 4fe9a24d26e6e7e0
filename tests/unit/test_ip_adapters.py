"""IP-Adapters on disk are recognized by their tensors, and each has the image encoder that it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagegen.errors import NotOnDisk, UnusableModel
from imagegen.library.ip_adapter_architectures import PLAIN_NAMES, PLUS_NAMES
from imagegen.library.ip_adapters import IpAdapterIndex
from imagegen.library.snapshots import Snapshots
from tests.unit.model_files import (
    Shapes,
    list_ip_adapter_shapes,
    make_snapshot_folder,
    write_ip_adapter,
    write_json,
    write_tensors,
)

PLAIN = list_ip_adapter_shapes(768, 1024)
# Where the shape of a tensor says nothing, any will do.
PLUS = {f"image_proj.{name}": (8, 8) for name in PLUS_NAMES} | {
    "image_proj.latents": (1, 16, 8),
    "image_proj.proj_in.weight": (8, 1280),
    "image_proj.proj_out.weight": (768, 8),
    **{name: shape for name, shape in PLAIN.items() if name.startswith("ip_adapter.")},
}

# Two blocks of FLUX.1.
FLUX = {
    **{f"ip_adapter_proj_model.{name}": PLAIN[f"image_proj.{name}"] for name in PLAIN_NAMES},
    "ip_adapter_proj_model.proj.weight": (4 * 768, 768),
    **{
        f"double_blocks.{block}.processor.ip_adapter_double_stream_{part}_proj.{name}": shape
        for block in range(2)
        for part in "kv"
        for name, shape in (("weight", (64, 768)), ("bias", (64,)))
    },
}
FLUX_KEY = "double_blocks.1.processor.ip_adapter_double_stream_k_proj"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ip_adapters").mkdir()
    return tmp_path / "ip_adapters"


@pytest.fixture
def index(folder: Path) -> IpAdapterIndex:
    return IpAdapterIndex("ip_adapter", (folder,), Snapshots(folder.parent / "hub"))


def write_encoder(folder: Path, hidden: int, projected: int) -> Path:
    config = {"model_type": "clip_vision_model", "hidden_size": hidden, "projection_dim": projected}
    write_json(folder / "config.json", config)
    return write_tensors(folder / "model.safetensors", {"class_embedding": (hidden,)})


def test_a_file_has_its_architecture_and_the_image_encoder_that_fits(index: IpAdapterIndex, folder: Path) -> None:
    plain = write_tensors(folder / "plain.safetensors", PLAIN)
    write_tensors(folder / "sub" / "plus.safetensors", PLUS)
    write_tensors(folder / "xl.safetensors", list_ip_adapter_shapes(2048, 1280))
    large, huge = write_encoder(folder / "image_encoder", 1280, 1024), write_encoder(folder / "g", 1664, 1280)
    found = {adapter.info.id: adapter.info.architecture for adapter in index.list_available()}
    assert found == {
        "plain": "Stable Diffusion 1",
        "sub/plus": "Stable Diffusion 1",
        "xl": "Stable Diffusion XL",
    }
    encoders = {name: index.list_sources(name)[1] for name in found}
    assert {name: source.path for name, source in encoders.items()} == {"plain": large, "sub/plus": large, "xl": huge}
    assert {source.kind for source in encoders.values()} == {"image_encoder"}
    assert index.list_sources("plain", 0.5)[0].model_dump(include={"kind", "path", "weight"}) == {
        "kind": "ip_adapter",
        "path": plain,
        "weight": 0.5,
    }


def test_one_for_flux_has_the_image_encoder_of_clip(index: IpAdapterIndex, folder: Path) -> None:
    file = write_tensors(folder / "flux.safetensors", FLUX)
    with pytest.raises(UnusableModel, match="projection_dim is 768; openai/clip-vit-large-patch14 has it"):
        index.list_sources("flux")
    config = {"model_type": "clip", "projection_dim": 768, "vision_config": {"hidden_size": 1024}}
    write_json(folder / "clip" / "config.json", config)
    encoder = write_tensors(folder / "clip" / "model.safetensors", {"class_embedding": (1024,)})
    assert [source.path for source in index.list_sources("flux")] == [file, encoder]
    assert index.get("flux").info.architecture == "FLUX.1"
    assert index.list_ids() == ["flux"]


def test_a_file_without_an_image_encoder_that_fits_says_what_it_needs(index: IpAdapterIndex, folder: Path) -> None:
    write_tensors(folder / "plus.safetensors", PLUS)
    write_encoder(folder / "image_encoder", 1664, 1280)
    with pytest.raises(UnusableModel, match="clip_vision_model whose hidden_size is 1280"):
        index.list_sources("plus")


def test_a_file_of_the_hub_is_complete_with_its_image_encoder(index: IpAdapterIndex, tmp_path: Path) -> None:
    snapshot = make_snapshot_folder(tmp_path / "hub", "someone/adapters")
    file = write_tensors(snapshot / "models" / "plain.safetensors", PLAIN)
    name = "someone/adapters/models/plain.safetensors"
    write_encoder(snapshot / "other", 1664, 1280)
    with pytest.raises(NotOnDisk):
        index.get(name)
    encoder = write_encoder(snapshot / "models" / "image_encoder", 1280, 1024)
    assert [source.path for source in index.list_sources(name)] == [file, encoder]


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({"lora.up.weight": (4, 4)}, "it contains no IP-Adapter"),
        (PLAIN | {"image_proj.more": (1,)}, "its tensor more has no place in an IP-Adapter"),
        ({name: PLAIN[name] for name in PLAIN if "norm.bias" not in name}, "it has no tensor image_proj.norm.bias"),
        ({name: PLAIN[name] for name in PLAIN if "1.to_v" not in name}, "not those of each cross-attention"),
        (PLAIN | {"ip_adapter.2.to_k_ip.weight": (64, 768)}, "not those of each cross-attention"),
        (PLAIN | {"ip_adapter.1.to_k_ip.weight": (64, 1024)}, "of several widths"),
        (PLAIN | {"image_proj.proj.weight": (5 * 768, 1024)}, "does not fit its keys and values"),
        (PLUS | {"image_proj.latents": (1, 12, 8)}, "it makes 12 tokens of a picture"),
        (PLUS | {"image_proj.layers.4.0.to_q.weight": (8, 8)}, "its tensor layers.4.0.to_q.weight has no place"),
        (PLAIN | {"ip_adapter.0.to_q_lora.down.weight": (4, 4)}, "FaceID"),
        (PLAIN | {"image_proj.perceiver_resampler.proj_in.weight": (4, 4)}, "FaceID Plus"),
        (PLAIN | {"image_proj.proj.3.weight": (4,)}, "full face"),
        (PLAIN | {"image_proj.proj.2.weight": (4, 4)}, "InstantX"),
        (PLUS | {"image_proj.proj_in.weight": (8, 1024), "image_proj.proj_out.weight": (2048, 8)}, "for Kolors"),
        ({name: FLUX[name] for name in FLUX if name != f"{FLUX_KEY}.bias"}, "not those of each block"),
        (FLUX | {f"{FLUX_KEY}.weight": (64, 1024)}, "of several widths"),
        (FLUX | {"ip_adapter_proj_model.proj.weight": (3 * 768, 768)}, "it makes 3 tokens of a picture"),
        (FLUX | {"ip_adapter_proj_model.proj.weight": (770, 768)}, "does not fit its keys and values"),
        (FLUX | {"single_blocks.0.weight": (4, 4)}, "its tensor single_blocks.0.weight has no place"),
        ({name: FLUX[name] for name in FLUX if "norm.bias" not in name}, "no tensor ip_adapter_proj_model.norm.bias"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_another_network_is_refused_with_the_reason(
    index: IpAdapterIndex, folder: Path, shapes: Shapes, problem: str
) -> None:
    write_tensors(folder / "other.safetensors", shapes)
    assert index.list_ids() == []
    with pytest.raises(UnusableModel, match=problem):
        index.get("other")


def test_a_broken_configuration_of_an_image_encoder_is_no_image_encoder(index: IpAdapterIndex, folder: Path) -> None:
    write_ip_adapter(folder / "mine.safetensors")
    (folder / "image_encoder" / "config.json").write_text("[")
    with pytest.raises(UnusableModel, match="there is no image encoder for it"):
        index.list_sources("mine")
