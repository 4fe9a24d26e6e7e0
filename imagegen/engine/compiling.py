"""`python -m imagegen.engine.compiling FILE`: compiles a network as the blueprint on standard input says.

In a process of its own: to compile takes minutes, and in the engine's process each operation would have to wait for
Python meanwhile. Nothing of the network's numbers is compiled in: the file serves whoever has such weights. It is what
`torch._inductor.aoti_compile_and_package` makes, https://pytorch.org/docs/stable/torch.compiler_aot_inductor.html.
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

from imagegen.engine import toolkit
from imagegen.engine.blueprint import Asked, Blueprint, blueprint, built, tensors_of
from imagegen.engine.joining import Arguments

ROOT = Path(__file__).parents[2]
LONGEST = 3600
# Bytes that compiling takes of a GPU besides the network's weights.
ROOM = 3e9
OPTIONS = {"aot_inductor.package_constants_in_so": False, "always_keep_tensor_constants": True}


def main() -> None:
    """Whoever waits for it holds the other end of standard input; when that goes, so does this."""
    file, plan = Path(sys.argv[1]), Blueprint(**json.loads(sys.stdin.readline()))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    os.nice(19)
    network, arguments = built(plan)
    partial = file.with_name(f"{os.getpid()}-{file.name}")
    with torch.no_grad():
        exported = torch.export.export(Asked(network, plan.method, arguments), (tensors_of(arguments),), strict=False)
        options = OPTIONS | {"max_autotune": plan.weights["device"] == "cuda"}
        aoti_compile_and_package(exported, package_path=str(partial), inductor_configs=options)
    others = {name: value for name, value in exported.constants.items() if isinstance(value, torch.Tensor)}
    save_file(others, constants_of(file))
    partial.rename(file)


def constants_of(file: Path) -> Path:
    """Numbers that are in the code of a network, rather than in its weights."""
    return file.with_suffix(".safetensors")


class Compiled:
    """A compiled method of a network, which works on these weights. They are free when this goes."""

    def __init__(self, file: Path, weights: Mapping[str, Tensor]) -> None:
        # Threads would have to wait for each other, and could not be recorded.
        self._package = aoti_load_package(str(file), run_single_threaded=True)
        mine = {name: weights[name].detach() for name in self._package.get_constant_fqns()}
        self._package.load_constants(mine, check_full_update=True, user_managed=True)
        weakref.finalize(self, emptied, list(mine.values())).atexit = False

    def __call__(self, **options: Any) -> Any:
        return self._package(tensors_of(options))


def emptied(tensors: Sequence[Tensor]) -> None:
    """torch never lets go of constants that the user manages (AtenTensorHandle in aoti_runtime/utils.h): they go on
    without what is in them.
    """
    for tensor in tensors:
        tensor.data = tensor.new_empty(0)


def compiled(network: Any, method: Any, arguments: Arguments, folder: Path) -> Compiled:
    """The method of a network, compiled for such arguments; it works on the weights that the network has now.

    Takes minutes when no such file is in the folder. Raises RuntimeError.
    """
    plan = blueprint(network, method, arguments)
    file = folder / f"{plan.digest}.pt2"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made_elsewhere(plan, file, sum(weight.nbytes for weight in network.parameters()))
    live = {f"network.{name}": value for name, value in (*network.named_parameters(), *network.named_buffers())}
    device = next(network.parameters()).device
    live |= {name: value.to(device) for name, value in load_file(constants_of(file)).items()}
    return Compiled(file, live)


def made_elsewhere(plan: Blueprint, file: Path, weights: int) -> None:
    """`weights` is in bytes: to compile for a GPU takes such a network once more there."""
    environment = dict(os.environ)
    if plan.weights["device"] == "cuda":
        if (header := toolkit.missing_header()) is not None:
            raise RuntimeError(f"CUDA's header {header} is missing")
        if torch.cuda.mem_get_info()[0] < weights + ROOM:
            raise RuntimeError("the GPU has no room to compile in")
        environment |= toolkit.environment()
    command = [sys.executable, "-m", "imagegen.engine.compiling", str(file.absolute())]
    with subprocess.Popen(  # noqa: S603 Both are ours.
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        print(json.dumps(asdict(plan)), file=process.stdin, flush=True)
        said = process.stderr.read()
        if process.wait(LONGEST):
            raise RuntimeError(said[-2000:])


if __name__ == "__main__":
    main()
