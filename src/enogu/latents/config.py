"""The settings of a latents stage."""

from dataclasses import dataclass
from typing import Annotated

from enogu.core.records.errors import Refused, unknown
from enogu.core.records.picture import MAX_PIXELS
from enogu.core.records.reference import Ref
from enogu.core.records.shards import FACTOR
from enogu.latents.buckets import TABLES, Buckets

PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class LatentsConfig:
    """What to encode, with whose VAE, at which shapes."""

    posts: Annotated[str, Ref("posts", "tagged")]
    model: Annotated[str, Ref("model")]  # the checkpoint whose VAE encodes
    area: int = 512 * 512  # pixels of a bucket, at most
    buckets: str = "novelai"  # novelai, kohya or everydream2: which shapes there are, and which of them is nearest
    step: int = 64  # sides of buckets are multiples of it: 8 to 64
    min_side: int = 0  # of a bucket; 0: half the side of the square (kohya: 256)
    max_side: int = 0  # of a bucket; 0: twice the side of the square (kohya: 1024)
    upscale: bool = True  # false: small pictures go to smaller buckets instead of being enlarged
    min_kept: float = 0.5  # a picture of which the crop would keep less is skipped
    max_pixels: int = MAX_PIXELS  # a larger picture is skipped, by its header
    flip: bool = False  # encode the mirror image too
    margin: int = 0  # pixels by which records are larger than their bucket, for a new crop at every read
    linear: bool = False  # resize in linear light instead of in sRGB values
    batch: int = 8  # pictures that go through the VAE at once
    precision: str = "fp32"  # what the VAE computes in; what it stores is always fp16

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.buckets not in TABLES:
            raise unknown("table of buckets", self.buckets, TABLES)
        if self.step % FACTOR or not FACTOR <= self.step <= 64:
            raise Refused(f"step = {self.step}: the VAE works on cells of 8 pixels; give 8, 16, 32 or 64")
        if self.area < self.step**2:
            raise Refused(f"area = {self.area} is less than one step of {self.step} squared; raise area or lower step")
        if not self.step <= (self.min_side or self.step) <= (self.max_side or self.area):
            raise Refused(
                f"min_side = {self.min_side}, max_side = {self.max_side}: "
                f"give step ({self.step}) <= min_side <= max_side, or 0 to derive them from the area"
            )
        for name, least in (("min_side", 0), ("max_side", 0), ("batch", 1), ("max_pixels", 1)):
            if getattr(self, name) < least:
                raise Refused(f"{name} = {getattr(self, name)} must be at least {least}")
        if self.margin < 0 or self.margin % (2 * FACTOR):
            raise Refused(f"margin = {self.margin}: give a multiple of {2 * FACTOR}, half of it on each side")
        if not 0 <= self.min_kept <= 1:
            raise Refused(f"min_kept = {self.min_kept} is a share; give 0 to 1")
        _ = self.table.shapes  # refuses an area that a table of given shapes does not have

    @property
    def table(self) -> Buckets:
        """Return the shapes and the choice among them."""
        bounds = {name: getattr(self, name) for name in ("area", "step", "min_side", "max_side", "upscale")}
        return Buckets(table=self.buckets, **bounds)
