"""The repositories of the stand-in, valid and broken ones. Each is built at its first request.

The builders import torch, so they are imported late.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.hub.faults import Fault
from tests.hub.repository_store import Repository

UNET = "unet/diffusion_pytorch_model.safetensors"
TERABYTE = 10**12

Change = Callable[[Path], None]


def model(name: str, *changes: Change) -> Callable[[Path], None]:
    """Returns a builder of a tiny model that applies changes to its folder."""

    def build(folder: Path) -> None:
        from tests.hub.tiny import TINY, TINY_EDITING

        (TINY | TINY_EDITING)[name](folder)
        for change in changes:
            change(folder)

    return build


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        model(name)(Path(folder))
        yield Path(folder)


def diffusers_loras(folder: Path, *, base: str, files: Mapping[str, int]) -> None:
    """Builds LoRAs; `files` maps names to seeds."""
    from tests.hub.loras import diffusers_lora

    with scratch(base) as pipeline:
        for name, seed in files.items():
            diffusers_lora(pipeline, folder / name, seed)


def kohya(folder: Path, *, base: str, name: str) -> None:
    from tests.hub.loras import kohya_lora

    with scratch(base) as pipeline:
        kohya_lora(pipeline, folder / name)


def embedding(folder: Path, *, widths: Mapping[str, int]) -> None:
    from tests.hub.loras import textual_inversion

    textual_inversion(folder / "learned_embeds.safetensors", widths)


def controlnet(folder: Path) -> None:
    """Builds a ControlNet in both precisions, as most repositories have it."""
    import shutil

    from tests.hub.controlnets import save_controlnet

    with scratch("tiny-sd15") as pipeline:
        save_controlnet(pipeline, folder)
    half = folder / "diffusion_pytorch_model.fp16.safetensors"
    shutil.copyfile(folder / "diffusion_pytorch_model.safetensors", half)
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"pickle")


def ip_adapters(folder: Path) -> None:
    """Builds IP-Adapters in folders as their inventors have them; the image encoder nearby is not for the second."""
    from tests.hub.ip_adapters import save_image_encoder, save_ip_adapter

    with scratch("tiny-sd15") as model:
        save_ip_adapter(model, folder / "models" / "ip-adapter.safetensors")
        save_ip_adapter(model, folder / "others" / "ip-adapter-plus.safetensors", is_plus=True)
    save_image_encoder(folder / "models" / "image_encoder")
    save_image_encoder(folder / "others" / "image_encoder", hidden=16, projected=16)


def detector(folder: Path) -> None:
    """Builds a detector, and beside it a file that it does not need."""
    from tests.hub.detectors import save_yolos

    save_yolos(folder, [(0.5, 0.5, 0.3, 0.3)])
    (folder / "training_args.bin").write_bytes(b"pickle")


def vae(folder: Path) -> None:
    """Builds a VAE, with the same as a pickle."""
    from tests.hub.vaes import save_vae

    save_vae(folder)
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"pickle")


def upscaler(folder: Path, *, is_safe: bool = True) -> None:
    import torch

    from tests.hub.upscalers import make_esrgan, write_upscaler

    weights = make_esrgan(doublings=1).state_dict()
    torch.save(weights, folder / "2x.pth")
    if is_safe:
        write_upscaler(folder / "2x.safetensors", weights)


def checkpoint(folder: Path, *, base: str, name: str) -> None:
    from tests.hub.single_file import single_file

    with scratch(base) as pipeline:
        single_file(pipeline, folder / name)


def pickled(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    for file in folder.rglob("*.safetensors"):
        is_transformers = file.name == "model.safetensors"
        torch.save(
            load_file(file), file.with_name("pytorch_model.bin") if is_transformers else file.with_suffix(".bin")
        )
        file.unlink()


def not_a_number(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = {name: weight * float("nan") for name, weight in load_file(folder / UNET).items()}
    save_file(weights, folder / UNET, {"format": "pt"})


def foreign(folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "EvilPipeline"}, indent=2))
    (folder / "pipeline.py").write_text('raise RuntimeError("Code of a stranger was run.")\n')


def without_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    for part in ("scheduler", "text_encoder", "tokenizer"):
        shutil.rmtree(folder / part)


REPOSITORIES: dict[str, Repository] = {
    "studio/tiny-sd15": Repository("Stable Diffusion 1.5", model("tiny-sd15")),
    "studio/tiny-sd21": Repository("Stable Diffusion 2.1, which predicts velocity", model("tiny-sd21")),
    "studio/tiny-sdxl": Repository("Stable Diffusion XL", model("tiny-sdxl")),
    "studio/tiny-sd3": Repository("Stable Diffusion 3", model("tiny-sd3")),
    "studio/tiny-flux-dev": Repository("FLUX.1 dev: guidance is an input", model("tiny-flux-dev")),
    "studio/tiny-flux-schnell": Repository("FLUX.1 schnell: no guidance", model("tiny-flux-schnell")),
    "studio/tiny-flux-kontext": Repository("FLUX.1 Kontext: edits pictures", model("tiny-flux-kontext")),
    "studio/tiny-flux2-klein": Repository("FLUX.2 klein, distilled", model("tiny-flux2-klein")),
    "studio/tiny-z-image": Repository("Z-Image", model("tiny-z-image")),
    "studio/tiny-qwen-image": Repository("Qwen-Image", model("tiny-qwen-image")),
    "studio/tiny-qwen-image-edit": Repository("Qwen-Image-Edit: edits pictures", model("tiny-qwen-image-edit")),
    "studio/tiny-sana": Repository("Sana", model("tiny-sana")),
    "studio/single-file": Repository(
        "Stable Diffusion 1.5 as one checkpoint", partial(checkpoint, base="tiny-sd15", name="tiny.safetensors")
    ),
    "studio/lora": Repository(
        "a LoRA for Stable Diffusion 1.5, as diffusers saves it",
        partial(diffusers_loras, base="tiny-sd15", files={"pytorch_lora_weights.safetensors": 1}),
    ),
    "studio/loras": Repository(
        "three LoRAs for Stable Diffusion XL",
        partial(diffusers_loras, base="tiny-sdxl", files={f"{name}.safetensors": n for n, name in enumerate("abc")}),
    ),
    "studio/lora-kohya": Repository(
        "a LoRA for Stable Diffusion 1.5 by kohya's scripts, with their metadata",
        partial(kohya, base="tiny-sd15", name="studio-style.safetensors"),
    ),
    "studio/lora-flux": Repository(
        "a LoRA for FLUX.1 dev by kohya's scripts", partial(kohya, base="tiny-flux-dev", name="flux-style.safetensors")
    ),
    "studio/embedding": Repository(
        "an embedding for Stable Diffusion 1.5: <studio-cat>", partial(embedding, widths={"<studio-cat>": 768})
    ),
    "studio/embedding-sdxl": Repository(
        "an embedding for the tiny Stable Diffusion XL", partial(embedding, widths={"clip_l": 24, "clip_g": 40})
    ),
    "studio/controlnet-canny": Repository("a ControlNet in two precisions", controlnet),
    "studio/ip-adapter": Repository("two IP-Adapters for Stable Diffusion 1, and two image encoders", ip_adapters),
    "studio/detector": Repository("a detector of faces and hands", detector),
    "studio/vae": Repository("a VAE for Stable Diffusion 1 and 2", vae),
    "studio/upscaler": Repository("an upscaler, and the same as a pickle", upscaler),
    "studio/upscaler-pickle": Repository("an upscaler as a pickle only", partial(upscaler, is_safe=False)),
    "studio/catalogued": Repository("for the catalogue of an owner", model("tiny-sd15")),
    "studio/catalogued-lora": Repository(
        "a LoRA for the catalogue of an owner",
        partial(diffusers_loras, base="tiny-sd15", files={"pytorch_lora_weights.safetensors": 2}),
    ),
    "studio/private": Repository("seen by its owner only", model("tiny-sd15"), private=True),
    "studio/gated": Repository("seen by all, read by its owner only", model("tiny-sd15"), gated=True),
    "studio/pickle-only": Repository("weights as .bin only", model("tiny-sd15", pickled)),
    "studio/foreign-class": Repository("a pipeline with code of its own", model("tiny-sd15", foreign)),
    "studio/nan-weights": Repository("a UNet of NaN", model("tiny-sd15", not_a_number)),
    "studio/too-large": Repository("reports 9 TB", model("tiny-sd15"), reported_sizes={UNET: 9 * TERABYTE}),
    "studio/no-index": Repository("weights, but no model_index.json", model("tiny-sd15", without_index)),
    "studio/broken-download": Repository(
        "the UNet breaks off after 1000 bytes, each time",
        model("tiny-sd15"),
        faults=(Fault(f"GET /lfs/studio/broken-download/.*/{UNET}", times=None, cut=1000),),
    ),
    "studio/slow": Repository(
        "comes at 2 MB/s", model("tiny-sd15"), faults=(Fault("GET /lfs/studio/slow/", times=None, slow=2_000_000),)
    ),
}
