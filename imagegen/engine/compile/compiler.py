"""`python -m imagegen.engine.compile.compiler FILE`: compiles a network from the CompileSpec on standard input.

In a separate process: compiling takes minutes, and would hold the GIL of the engine's process. Weights are not compiled
in, so that the file serves all models of the same architecture. The format is that of
`torch._inductor.aoti_compile_and_package`, https://pytorch.org/docs/stable/torch.compiler_aot_inductor.html.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch._inductor import aoti_compile_and_package, aoti_load_package

from imagegen.engine.batching.collate import Arguments
from imagegen.engine.compile import cuda_headers
from imagegen.engine.compile.compiled_file import CompiledFile
from imagegen.engine.compile.spec import CompileSpec, TensorOnlyModule, build_spec, extract_tensors, instantiate_network

ROOT = Path(__file__).parents[3]
COMPILE_TIMEOUT_SECONDS = 3600
# GPU memory in bytes that compiling needs in addition to the network's weights.
COMPILE_MEMORY_BYTES = 3e9
INDUCTOR_OPTIONS = {"aot_inductor.package_constants_in_so": False, "always_keep_tensor_constants": True}


def main() -> None:
    """Compiles, then gives the finished files their names.

    Exits when standard input closes, which means that the parent has died.
    """
    file, spec = CompiledFile(Path(sys.argv[1])), CompileSpec(**json.loads(sys.stdin.readline()))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    os.nice(19)
    network, arguments = instantiate_network(spec)
    with torch.no_grad():
        exported = torch.export.export(
            TensorOnlyModule(network, spec.method, arguments), (extract_tensors(arguments),), strict=False
        )
        options = INDUCTOR_OPTIONS | {"max_autotune": spec.weights["device"] == "cuda"}
        aoti_compile_and_package(exported, package_path=str(file.partial.path), inductor_configs=options)
    constants = {name: value for name, value in exported.constants.items() if isinstance(value, torch.Tensor)}
    save_file(constants, file.partial.constants_path)
    file.publish()


class CompiledNetwork:
    """A compiled method of a network that uses the given weights, without a copy. They are freed with this object."""

    def __init__(self, file: Path, weights: Mapping[str, Tensor]) -> None:
        # The multi-threaded runner takes locks, and cannot be captured in a graph.
        self._package = aoti_load_package(str(file), run_single_threaded=True)
        constants = {name: weights[name].detach() for name in self._package.get_constant_fqns()}
        self._package.load_constants(constants, check_full_update=True, user_managed=True)
        weakref.finalize(self, release_tensors, list(constants.values())).atexit = False

    def __call__(self, **options: Any) -> Any:
        return self._package(extract_tensors(options))


def release_tensors(tensors: Sequence[Tensor]) -> None:
    """Frees the storage of tensors. torch never releases its references to user-managed constants (AtenTensorHandle in
    aoti_runtime/utils.h), so that they must be emptied.
    """
    for tensor in tensors:
        tensor.data = tensor.new_empty(0)


def load_or_compile(network: Any, method: Any, arguments: Arguments, folder: Path) -> CompiledNetwork:
    """Returns the method of a network, compiled for arguments of these shapes, on the network's current weights.

    Takes minutes if the folder has no such file; several processes may use the same folder. Raises RuntimeError if
    compiling fails.
    """
    spec = build_spec(network, method, arguments)
    file = CompiledFile(folder / f"{spec.cache_key}.pt2")
    if not file.path.exists():
        weight_bytes = sum(weight.nbytes for weight in network.parameters())
        file.compile_once(lambda: compile_in_subprocess(spec, file.path, weight_bytes))
    file.mark_used()
    weights = {f"network.{name}": value for name, value in (*network.named_parameters(), *network.named_buffers())}
    device = next(network.parameters()).device
    weights |= {name: value.to(device) for name, value in load_file(file.constants_path).items()}
    return CompiledNetwork(file.path, weights)


def compile_in_subprocess(spec: CompileSpec, file: Path, weight_bytes: int) -> None:
    """Compiles to `file`. Compiling for a GPU needs the network's `weight_bytes` there once more.

    Raises RuntimeError if CUDA's headers or GPU memory are missing, or the compiler fails.
    """
    environment = dict(os.environ)
    if spec.weights["device"] == "cuda":
        if (header := cuda_headers.find_missing_header()) is not None:
            raise RuntimeError(f"CUDA's header {header} is missing")
        if torch.cuda.mem_get_info()[0] < weight_bytes + COMPILE_MEMORY_BYTES:
            raise RuntimeError("the GPU has too little free memory to compile")
        environment |= cuda_headers.build_environment()
    command = [sys.executable, "-m", "imagegen.engine.compile.compiler", str(file.absolute())]
    with subprocess.Popen(  # noqa: S603 The command is our own.
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        print(json.dumps(asdict(spec)), file=process.stdin, flush=True)
        stderr = process.stderr.read()
        if process.wait(COMPILE_TIMEOUT_SECONDS):
            raise RuntimeError(stderr[-2000:])


if __name__ == "__main__":
    main()
