"""How hard a picture was compressed, from the numbers in its file: nothing is decoded."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

# The luminance table of ITU-T T.81, K.1, row by row; libjpeg's quality scales it, and so do most encoders.
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
WEBP_LEVELS = 127  # of VP8's quantiser
WEBP_WHOLE = 3  # libwebp's quality goes through a cube root, bent further for the first of several segments,
WEBP_SEGMENTED = (
    1 / 0.47
)  # the flattest, of which the frame tells the quantiser (quant_enc.c; spatial noise shaping 50)


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """Return the libjpeg quality, 1 to 100, whose luminance table is nearest to a file's first."""
    if 0 not in tables or len(tables[0]) != len(LUMINANCE):
        return None
    return _nearest(tuple(tables[0]))


def webp_quality(data: bytes) -> int | None:
    """Return libwebp's quality, about, from the quantiser of a lossy frame; 100 when lossless."""
    for kind, start in _chunks(data):
        if kind == b"VP8L":
            return 100
        if kind == b"VP8 " and data[start + 3 : start + 6] == b"\x9d\x01\x2a":
            level, segments = _quantiser(_Bits(data, start + 10))
            even = (1 - level / WEBP_LEVELS) ** (WEBP_SEGMENTED if segments else WEBP_WHOLE)
            return round(100 * (1.5 * even if even < 0.5 else (even + 1) / 2))
    return None


@lru_cache(maxsize=256)  # most pictures of a site come from few encoders
def _nearest(table: tuple[int, ...]) -> int:
    return min(range(1, 101), key=lambda quality: _distance(table, quality))


def _distance(table: Sequence[int], quality: int) -> int:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = (min(max((step * scale + 50) // 100, 1), 255) for step in LUMINANCE)
    return sum(abs(ours - theirs) for ours, theirs in zip(scaled, table, strict=True))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the chunks of a RIFF file: kind, and where their content begins."""
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4], at + 8
        at += 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2


class _Bits:
    """The boolean decoder of VP8 at even odds (RFC 6386, 7.3)."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at + 2
        self._value, self._range, self._shifts = int.from_bytes(data[at : at + 2], "big"), 255, 0

    def read(self, bits: int) -> int:
        """Return the next bits as a number, the highest first."""
        number = 0
        for _ in range(bits):
            number = number * 2 + self._bit()
        return number

    def skip(self, *widths: int) -> None:
        """Pass over numbers with a sign, each there only if a flag says so."""
        for width in widths:
            if self.read(1):
                self.read(width)

    def _bit(self) -> int:
        split = 1 + ((self._range - 1) * 128 >> 8)
        bit = int(self._value >= split << 8)
        if bit:
            self._range, self._value = self._range - split, self._value - (split << 8)
        else:
            self._range = split
        while self._range < 128:
            self._range, self._value, self._shifts = self._range * 2, self._value * 2, self._shifts + 1
            if self._shifts == 8:
                self._shifts = 0
                self._value |= self._data[self._at] if self._at < len(self._data) else 0
                self._at += 1
        return bit


def _quantiser(bits: _Bits) -> tuple[int, bool]:
    """Read a frame header up to its base quantiser, and whether there are segments (RFC 6386, 9.2 to 9.6)."""
    bits.read(2)  # colour space, clamping
    segments = bits.read(1)
    if segments:
        has_map, has_features = bits.read(1), bits.read(1)
        if has_features:
            bits.read(1)
            bits.skip(*[8] * 4, *[7] * 4)  # quantisers and filter levels, with their signs
        if has_map:
            bits.skip(*[8] * 3)
    bits.read(1 + 6 + 3)  # the loop filter
    if bits.read(1) and bits.read(1):
        bits.skip(*[7] * 8)
    bits.read(2)  # partitions
    return bits.read(7), bool(segments)
