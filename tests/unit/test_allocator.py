"""Memory of large pictures goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_GROWTH_MB = 24
# Reads a large picture several times in each of four threads, and prints how many MiB more are resident afterwards.
PROBE = """
import io, sys, threading
from pathlib import Path
import psutil
from PIL import Image
from imagegen.allocator import return_large_blocks
from imagegen.storage.files import ImageStore

def resident():
    return psutil.Process().memory_info().rss // 2**20

return_large_blocks()
store, file = ImageStore(Path(sys.argv[1])), io.BytesIO()
Image.new("1", (2900, 2900)).save(file, "PNG")
small = io.BytesIO()
Image.new("RGB", (64, 64)).save(small, "PNG")
store.add_input(small.getvalue(), "init_image")
before, barrier = resident(), threading.Barrier(5)

def read():
    for _ in range(2):
        store.add_input(file.getvalue(), "init_image")
    barrier.wait()  # What a thread that has ended keeps, another one could use.
    barrier.wait()

threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
barrier.wait()
print(resident() - before)
barrier.wait()
"""


def test_threads_that_have_read_large_pictures_keep_little_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROBE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < MAX_GROWTH_MB
