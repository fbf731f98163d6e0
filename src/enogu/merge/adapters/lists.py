"""Lists of block weights as they are written for LoRA: only the blocks that hold attention have a number."""

from collections.abc import Sequence

# sd-webui-lora-block-weight (hako-mikan): 17 numbers for SD1 and SD2, 12 for SDXL
ATTENTION = {
    26: ("BASE", *(f"IN{i:02d}" for i in (1, 2, 4, 5, 7, 8)), "M00", *(f"OUT{i:02d}" for i in range(3, 12))),
    20: ("BASE", *(f"IN{i:02d}" for i in (4, 5, 7, 8)), "M00", *(f"OUT{i:02d}" for i in range(6))),
}


def spread(numbers: Sequence[float], blocks: Sequence[str]) -> Sequence[float]:
    """Return a list with a number for every block, 0 where a LoRA's list has none; other lists as they are."""
    named = ATTENTION.get(len(blocks), ())
    if len(numbers) != len(named):
        return numbers
    given = dict(zip(named, numbers, strict=True))
    return [given.get(block, 0.0) for block in blocks]
