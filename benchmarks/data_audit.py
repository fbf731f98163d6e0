"""The audit of images on one core: one decode, hashes, marks, and the resize for the VAE, against what others do.

`python -m benchmarks.data_audit [jpeg] [webp] [png] [turned] [--pictures N]`; pictures of 1,152 x 896 are drawn first.
`usual` is the same work as a chain of tools does it: Pillow decodes three times, for the hash, the tagger and the VAE.
"""

import argparse
import datetime
import hashlib
import io
import time
from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from PIL import Image

from enogu.core.records.picture import read_picture, resize_to_cover
from enogu.posts.audit import Limits, _measure

WIDTH, HEIGHT = 1152, 896
BUCKET = (576, 448)
TAGGER = 448
LIMITS = Limits(min_side=16, max_pixels=64_000_000, animated=False)
TARGET = 50  # pictures a second and core, JPEG


def drawing(seed: int) -> Image.Image:
    """Return soft colours, sharp shapes and a little noise."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(2**n, 2**n, 3)) * 0.6**n for n in range(1, 9)]
    soft = sum(cv2.resize(layer, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for layer in layers)
    picture = ((soft - soft.min()) / np.ptp(soft) * 255).astype(np.uint8)
    shapes = rng.integers((0, 0, 5, 0, 0, 0), (WIDTH, HEIGHT, 200, 256, 256, 256), (60, 6)).tolist()
    for x, y, radius, *colour in shapes:
        cv2.circle(picture, (x, y), radius, colour, -1 if radius % 2 else 3, cv2.LINE_AA)
    return Image.fromarray(np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    """Return the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> dict[str, object]:
    """Return options that lay a JPEG on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"quality": 90, "exif": exif}


CASES = MappingProxyType(
    {
        "jpeg": ("JPEG", {"quality": 90}),
        "webp": ("WEBP", {"quality": 90}),
        "png": ("PNG", {}),
        "turned": ("JPEG", turned()),
    }
)


def audited(data: bytes) -> None:
    """Do all that the audit does."""
    _measure(data, "a", LIMITS)


def audited_and_resized(data: bytes) -> None:
    """Decode once more for the VAE, as the latents stage does."""
    _measure(data, "a", LIMITS)
    resize_to_cover(read_picture(data), *BUCKET)


def usual(data: bytes) -> None:
    """Hash the file; decode with Pillow for a difference hash, for a tagger and for the VAE, resizing with Lanczos."""
    hashlib.sha256(data).hexdigest()
    image = Image.open(io.BytesIO(data))
    small = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    np.packbits(small[:, 1:] > small[:, :-1])
    Image.open(io.BytesIO(data)).convert("RGB").resize((TAGGER, TAGGER), Image.Resampling.BICUBIC)
    Image.open(io.BytesIO(data)).convert("RGB").resize(BUCKET, Image.Resampling.LANCZOS)


WAYS: MappingProxyType[str, Callable[[bytes], object]] = MappingProxyType(
    {
        "decode only": read_picture,
        "audit": audited,
        "audit, and decode and resize for the VAE": audited_and_resized,
        "usual": usual,
    }
)


def rate(work: Callable[[bytes], object], files: list[bytes]) -> float:
    """Return files a second of processor time, of one thread."""
    work(files[0])
    started = time.process_time()
    for data in files:
        work(data)
    return len(files) / (time.process_time() - started)


def main() -> None:
    """Run the cases that are named, all if none is."""
    from benchmarks.side_by_side import machine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--pictures", type=int, default=100)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"# Audit of images\n\n{machine()}, {datetime.date.today()}. `python -m benchmarks.data_audit`\n")
    print(f"Pictures of {WIDTH} x {HEIGHT} per second of one core; the target for JPEG is {TARGET}.\n")
    print(f"| file | {' | '.join(WAYS)} |\n|---|{'---:|' * len(WAYS)}", flush=True)
    images = [drawing(seed) for seed in range(min(args.pictures, 20))]
    for name in args.cases or CASES:
        kind, options = CASES[name]
        files = [encoded(image, kind, options) for image in images]
        files = [files[number % len(files)] for number in range(args.pictures)]
        size = sum(map(len, files)) / len(files) / 1e3
        rates = [f"{rate(work, files):.1f}" for work in WAYS.values()]
        print(f"| {name}, {size:,.0f} kB | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main()
