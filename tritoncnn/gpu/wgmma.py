"""Whether ptxas had to take apart the asynchronous matrix products of sm_90: it then waits after each of them."""

from __future__ import annotations

import re
import subprocess
import tempfile

from tritoncnn.errors import KernelError
from tritoncnn.gpu.facts import NVIDIA_TOOLS

# "... wgmma.mma_async instructions are serialized due to ..." (C7510 and others), "... is injected" (C7517, C7519)
TOLD = re.compile(r"wgmma\.mma_async instructions are serialized[^\n]*|warpgroup\.\w+ is injected[^\n]*")


def serialised(ptx: str) -> str:
    """What ptxas says of it for sm_90a; "" when nothing. Raises KernelError for text that it does not take."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [str(NVIDIA_TOOLS / "ptxas"), "-v", "--gpu-name=sm_90a", file.name, "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernelError(f"ptxas refused the kernel: {' '.join(done.stderr.split())[:500]}")
    found = TOLD.search(done.stderr)
    return found[0] if found else ""
