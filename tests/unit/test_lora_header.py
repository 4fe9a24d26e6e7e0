"""A LoRA file is refused when it is listed, by the name of the tensor or the statement that cannot be used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imagegen.errors import UnusableModel
from imagegen.library.adapters import AdapterIndex
from imagegen.library.downloads import Download
from imagegen.library.hub import HubClient
from imagegen.library.lora_tensors import LayerTensors, UnsupportedLora, count_sides, group_tensors
from imagegen.library.peft_config import parse_peft_config
from imagegen.library.snapshots import HubFiles, Snapshots
from tests.doubles import make_library
from tests.hub.server import StandInHub
from tests.unit.model_files import ATTENTION, write_lora, write_tensors

LAYER = f"unet.{ATTENTION}"
PAIR = {f"{LAYER}.lora_A.weight": (4, 768), f"{LAYER}.lora_B.weight": (64, 4)}


@pytest.fixture
def loras(tmp_path: Path) -> AdapterIndex:
    return AdapterIndex("lora", (tmp_path,), Snapshots(tmp_path / "hub"))


def assert_refused(loras: AdapterIndex, problem: str) -> None:
    with pytest.raises(UnusableModel, match=re.escape(f"mine cannot be used: {problem}")):
        loras.get("mine")
    assert loras.list_ids() == []


@pytest.mark.parametrize(
    "tensor",
    [
        "unet.conv_in.weight",
        f"{LAYER}.bias",
        f"{LAYER}.lora_C.weight",
        f"{LAYER}.lokr_t1",
        f"{LAYER}.scalar",
        f"{LAYER}.lora_embedding_A",
        "bundle_emb.word.string_to_param.*",
        "lora_xx9",
    ],
)
def test_a_tensor_without_a_place_is_named(loras: AdapterIndex, tmp_path: Path, tensor: str) -> None:
    write_tensors(tmp_path / "mine.safetensors", PAIR | {tensor: (4, 4)})
    assert_refused(loras, f"its tensor {tensor} has no place")


@pytest.mark.parametrize(
    "roles",
    [
        ["lora_A.weight"],
        ["lora_up.weight", "alpha"],
        ["alpha"],
        ["dora_scale"],
        ["hada_w1_a", "hada_w1_b", "hada_w2_a"],
        ["lokr_w1", "lokr_w2_a"],
        ["lokr_w2"],
        ["lora_mid.weight"],
    ],
)
def test_a_layer_without_all_of_its_tensors_is_named(loras: AdapterIndex, tmp_path: Path, roles: list[str]) -> None:
    write_tensors(tmp_path / "mine.safetensors", PAIR | {f"lora_unet_x.{role}": (4, 4) for role in roles})
    assert_refused(loras, "half of what it changes at lora_unet_x is missing")


@pytest.mark.parametrize("more", ["hada_w1_a", "lokr_w1", "diff", "hada_t1"])
def test_two_formats_in_one_layer_are_refused(loras: AdapterIndex, tmp_path: Path, more: str) -> None:
    write_tensors(tmp_path / "mine.safetensors", PAIR | {f"{LAYER}.{more}": (4, 4)})
    assert_refused(loras, f"its tensor {LAYER}.{more} has no place")


def test_a_tensor_that_is_there_twice_is_refused(loras: AdapterIndex, tmp_path: Path) -> None:
    write_tensors(tmp_path / "mine.safetensors", PAIR | {f"{LAYER}.lora_down.weight": (4, 768)})
    assert_refused(loras, f"its tensor {LAYER}.lora_down.weight has no place")


@pytest.mark.parametrize(
    "tensor",
    [
        "text_encoder.text_model.embeddings.position_ids",
        "ema.decay",
        "model_ema.num_updates",
        "optimizer.state.0.exp_avg",
        "global_step",
        "epoch",
    ],
)
def test_a_tensor_that_changes_no_picture_is_left_out(loras: AdapterIndex, tmp_path: Path, tensor: str) -> None:
    write_tensors(tmp_path / "mine.safetensors", PAIR | {tensor: (4,)})
    assert loras.get("mine").info.architecture == "Stable Diffusion 1"


REFUSED_FIELDS: list[tuple[str, object]] = [
    ("bias", "all"),
    ("bias", "lora_only"),
    ("modules_to_save", ["proj_out"]),
    ("fan_in_fan_out", True),
    ("layer_replication", [[0, 4], [2, 5]]),
    ("init_lora_weights", "pissa"),
    ("init_lora_weights", "olora"),
    ("init_lora_weights", "loftq"),
    ("use_qalora", True),
    ("target_parameters", ["mlp.experts"]),
    ("trainable_token_indices", [1, 2]),
    ("alora_invocation_tokens", [7]),
    ("megatron_config", {"x": 1}),
    ("loftq_config", {"loftq_bits": 4}),
    ("peft_type", "LOHA"),
    ("a_field_of_the_future", 3),
    ("r", "four"),
    ("r", 0),
    ("lora_alpha", True),
    ("use_rslora", 1),
    ("alpha_pattern", {"to_q": "much"}),
    ("alpha_pattern", {"(": 3}),
    ("alpha_pattern", {"(a+)+": 3}),
    ("alpha_pattern", {".*.*.*.*": 3}),
    ("rank_pattern", [4]),
]


@pytest.mark.parametrize("place", ["adapter_config.json", "lora_adapter_metadata"])
@pytest.mark.parametrize(("field", "value"), REFUSED_FIELDS)
def test_a_field_of_peft_that_cannot_be_used_is_named(
    loras: AdapterIndex, tmp_path: Path, field: str, value: object, place: str
) -> None:
    if place == "adapter_config.json":
        write_lora(tmp_path / "mine.safetensors")
        (tmp_path / place).write_text(json.dumps({field: value}))
    else:
        write_lora(tmp_path / "mine.safetensors", metadata={place: json.dumps({f"unet.{field}": value})})
    assert_refused(loras, f"{field} in {place} is {json.dumps(value)}, which is not supported")


def test_the_rank_must_be_the_one_that_is_written(loras: AdapterIndex, tmp_path: Path) -> None:
    write_lora(tmp_path / "mine.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"r": 16, "rank_pattern": {"to_k": 4}}')
    assert_refused(loras, f"the rank of {LAYER.replace('to_k', 'to_v')} is 4, and adapter_config.json says 16")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000])
def test_statements_that_cannot_be_read_are_refused(loras: AdapterIndex, tmp_path: Path, text: str) -> None:
    write_lora(tmp_path / "mine.safetensors")
    (tmp_path / "adapter_config.json").write_text(text)
    assert_refused(loras, "its adapter_config.json cannot be read")


def test_what_peft_writes_of_the_training_is_no_reason_to_refuse(loras: AdapterIndex, tmp_path: Path) -> None:
    write_lora(tmp_path / "mine.safetensors")
    fields = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "bias": "none",
        "base_model_name_or_path": "someone/model",
        "target_modules": ["to_k"],
        "lora_dropout": 0.1,
        "init_lora_weights": True,
        "modules_to_save": None,
        "loftq_config": {},
        "megatron_core": "megatron.core",
        "qalora_group_size": 16,
        "runtime_config": {"ephemeral_gpu_offload": False},
        "peft_version": "0.21.2",
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    source = loras.get_source("mine")
    assert source.peft_config is not None
    assert json.loads(source.peft_config) == fields


@pytest.mark.parametrize("has_metadata", [True, False])
def test_a_configuration_of_peft_is_not_for_files_of_other_tools(
    loras: AdapterIndex, tmp_path: Path, has_metadata: bool
) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 99}')
    if has_metadata:
        write_lora(tmp_path / "mine.safetensors", metadata={"lora_adapter_metadata": '{"unet.r": 4}'})
    else:
        write_tensors(
            tmp_path / "mine.safetensors",
            {"lora_unet_x.lora_down.weight": (4, 768), "lora_unet_x.lora_up.weight": (64, 4)},
        )
    assert loras.get_source("mine").peft_config is None


@pytest.mark.parametrize(
    ("layer", "scale"),
    [
        ("blocks.0.attn.to_q", 6 / 4),
        ("blocks.0.attn.to_k", 8 / 4),
        ("blocks.0.attn.to_v", 1 / 2),
        ("to_v", 1 / 2),
        ("blocks.11.attn.to_q", 5 / 4),
    ],
)
def test_the_first_pattern_that_matches_the_end_of_a_name_counts(layer: str, scale: float) -> None:
    patterns = {"attn.to_k": 8, r"blocks\.\d\d\..*": 5, "to_v": 1, ".*to_k": 9}
    fields = {"r": 4, "lora_alpha": 6, "alpha_pattern": patterns, "rank_pattern": {"to_v": 2}}
    rank = 2 if layer.endswith("to_v") else 4
    assert parse_peft_config(fields, "it").get_scale(layer, rank) == scale


def test_names_of_all_tools_are_layers_with_roles() -> None:
    names = {
        "a.lora_A.weight": ("a", "down"),
        "a.lora_B.default.weight": ("a", "up"),
        "b.lora.down.weight": ("b", "down"),
        "b.lora_linear_layer.up.weight": ("b", "up"),
        "c.to_q_lora.down.weight": ("c.to_q_lora", "down"),
        "c.to_q_lora.up.weight": ("c.to_q_lora", "up"),
        "d.processor.qkv_lora1.down.weight": ("d.processor.qkv_lora1", "down"),
        "d.processor.qkv_lora1.up.weight": ("d.processor.qkv_lora1", "up"),
        "e.w_norm": ("e", "diff"),
        "e.b_norm": ("e", "diff_b"),
    }
    expected: dict[str, LayerTensors] = {}
    for name, (layer, role) in names.items():
        expected.setdefault(layer, {})[role] = name
    assert group_tensors(names) == expected


def test_the_name_of_a_tensor_may_not_be_a_role_alone() -> None:
    with pytest.raises(UnsupportedLora, match=r"its tensor lora_A\.weight has no place"):
        group_tensors(["lora_A.weight"])


@pytest.mark.parametrize(
    ("shapes", "sides"),
    [
        ({"down": (4, 768), "up": (64, 4)}, (64, 768)),
        ({"down": (4, 16, 3, 3), "up": (64, 4, 1, 1)}, (64, 16)),
        ({"hada_w1_a": (64, 2), "hada_w1_b": (2, 768), "hada_w2_a": (64, 2), "hada_w2_b": (2, 768)}, (64, 768)),
        ({"hada_w1_a": (2, 64), "hada_w1_b": (2, 16), "hada_t1": (2, 2, 3, 3)}, (64, 16)),
        ({"lokr_w1": (2, 4), "lokr_w2": (32, 192)}, (64, 768)),
        ({"lokr_w1_a": (2, 1), "lokr_w1_b": (1, 4), "lokr_w2_a": (32, 2), "lokr_w2_b": (2, 192)}, (64, 768)),
        ({"diff": (64, 768)}, (64, 768)),
        ({"diff": (64,)}, None),
        ({"lokr_w1": (2, 4)}, None),
    ],
)
def test_the_sides_of_a_layer_follow_from_its_tensors(
    shapes: dict[str, tuple[int, ...]], sides: tuple[int, int] | None
) -> None:
    assert count_sides(shapes) == sides


@pytest.mark.parametrize(
    ("tensors", "shared_passes"),
    [
        (PAIR, True),
        (PAIR | {f"{LAYER}.alpha": ()}, True),
        (PAIR | {f"{LAYER}.dora_scale": (64, 1)}, False),
        (PAIR | {"unet.conv_in.diff_b": (64,)}, False),
        ({f"{LAYER}.lokr_w1": (2, 4), f"{LAYER}.lokr_w2": (32, 192)}, False),
        (PAIR | {"lora_te_text_model_x.lokr_w1": (2, 4), "lora_te_text_model_x.lokr_w2": (32, 192)}, True),
    ],
)
def test_the_list_says_whether_jobs_with_it_share_passes(
    loras: AdapterIndex, tmp_path: Path, tensors: dict[str, tuple[int, ...]], shared_passes: bool
) -> None:
    write_tensors(tmp_path / "mine.safetensors", tensors)
    info = loras.get("mine").info
    assert (info.shared_passes, info.architecture) == (shared_passes, "Stable Diffusion 1")


def test_the_configuration_of_peft_is_downloaded_with_a_lora(tmp_path: Path) -> None:
    root, library = tmp_path / "repositories", make_library(tmp_path)
    write_lora(root / "someone" / "style" / "adapter_model.safetensors")
    (root / "someone" / "style" / "adapter_config.json").write_text('{"r": 4, "use_rslora": true}')
    with StandInHub(root) as hub:
        plan = HubClient(hub.url).plan_adapter("someone/style", HubFiles("someone/style"), "lora")
        Download(plan, library.snapshots, library.checksums).run()
    assert library.adapters["lora"].get_source("someone/style").peft_config == '{"r": 4, "use_rslora": true}'


def test_a_configuration_that_is_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    write_lora(folder / "mine.safetensors")
    (tmp_path / "secret.json").write_text('{"bias": "all"}')
    (folder / "adapter_config.json").symlink_to(tmp_path / "secret.json")
    loras = AdapterIndex("lora", (folder,), Snapshots(tmp_path / "hub"))
    assert_refused(loras, "adapter_config.json is a link to a place outside of the models folder")
