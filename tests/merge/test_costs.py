"""The estimate of a merge: sizes that are known, rates that were measured, memory that is not exceeded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from enogu.core.networks.stream import save_tensors
from enogu.merge.config import MergeConfig
from enogu.merge.costs import costs, peak_bytes
from enogu.merge.inputs import read_headers
from enogu.merge.plan import make_plan
from tests.merge import pico

KEY = "model.diffusion_model.middle_block.1.proj_in.weight"
MERGE = """
import sys
from pathlib import Path
from enogu.merge.config import MergeConfig
from enogu.merge.stage import merge
formula, folder = sys.argv[1], Path(sys.argv[2])
merge(MergeConfig(formula=formula), {name: folder / f"{name}.safetensors" for name in "abc"}, folder / "out")
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def test_what_is_known_and_what_is_measured(tmp_path: Path) -> None:
    files = pico.write(tmp_path, a=pico.tensors(0), b=pico.tensors(1))
    plan = make_plan(MergeConfig(formula="ties(a, b, keep=0.5)"), read_headers(files))
    told = costs(plan, files, tmp_path / "out", threads=2)
    assert told.read_bytes == sum(path.stat().st_size for path in files.values())
    assert told.write_bytes == plan.out_bytes
    assert min(told.read_rate, told.write_rate, told.hash_rate, told.compute_seconds) > 0.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]
    assert costs(plan, files, None, threads=2).write_rate == 0.0
    assert "MiB of memory" in told.text()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell the peak")
@pytest.mark.parametrize("formula", ["0.5*a + 0.5*b", "ties(a, b, c, keep=0.2)", "geometric_median(a, b, c)"])
def test_the_peak_stays_below_the_estimate(formula: str, tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        generator = torch.Generator().manual_seed(number)
        save_tensors(tmp_path / f"{name}.safetensors", {KEY: torch.randn(5000, 3000, generator=generator).half()}, {})
    files = {name: tmp_path / f"{name}.safetensors" for name in "abc"}
    plan = make_plan(MergeConfig(formula=formula), read_headers(files))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MERGE, formula, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 <= peak_bytes(plan, 2)
