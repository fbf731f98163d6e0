"""Checkpoints of true keys and shapes, near a common base as fine-tunes are."""

from pathlib import Path

import torch

from enogu.core.networks.header import Spec
from enogu.core.networks.layouts import layout
from enogu.core.networks.stream import as_bytes, open_writer

POOL = 4_000_037  # elements of noise, used over and over; prime, so that tensors do not begin alike
SPREAD, TUNED = 0.02, 0.001  # of the base's elements, and of what each model adds


def make_inputs(family: str, count: int, folder: Path) -> list[Path]:
    """Write the checkpoints that are not there yet, after removing those of other families."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob("*-*.safetensors"):
        if not other.name.startswith(f"{family}-"):
            other.unlink()
    paths = [folder / f"{family}-{number}.safetensors" for number in range(count)]
    base = torch.randn(POOL, generator=torch.Generator().manual_seed(0)).mul_(SPREAD)
    specs = {key: Spec(torch.float16, shape) for key, shape in layout(family).shapes.items()}
    for number, path in enumerate(paths):
        if path.exists():
            continue
        change = torch.randn(POOL, generator=torch.Generator().manual_seed(1 + number))
        values = change.mul_(TUNED).add_(base).half()
        with open_writer(path, specs, {}) as writer:
            for key, info in writer.infos.items():
                for start in range(0, info.numel, POOL):
                    writer.write(key, as_bytes(values[: min(POOL, info.numel - start)]), offset=2 * start)
    return paths
