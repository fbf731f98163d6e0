"""Every merge method once more: whole tensors, float64, the plainest code; nothing here is shared with the methods."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def top(x: Array, share: float) -> NDArray[np.bool_]:
    """Return where x is among its largest."""
    count = min(max(math.floor(x.size * share + 0.5), 1), x.size)
    return x >= np.sort(x.ravel())[-count]


def ties(deltas: Sequence[Array], keep: float = 0.2, vote: str = "mass") -> Array:
    kept = [np.where(top(abs(d), keep), d, 0.0) for d in deltas]
    out = np.zeros_like(kept[0])
    for i in np.ndindex(*out.shape):
        values = [float(k[i]) for k in kept]
        sign = np.sign(math.fsum(values) if vote == "mass" else sum(np.sign(v) for v in values))
        agree = [v for v in values if sign and np.sign(v) == sign]
        out[i] = sum(agree) / len(agree) if agree else 0.0
    return out


def breadcrumbs(deltas: Sequence[Array], keep: float = 0.9, outliers: float = 0.01) -> Array:
    return sum(np.where(top(abs(d), keep + outliers) & ~top(abs(d), outliers), d, 0.0) for d in deltas) / len(deltas)


def k_sigma(deltas: Sequence[Array], k: float = 1.28) -> Array:
    return sum(np.where(abs(d) >= k * d.std(), d, 0.0) for d in deltas) / len(deltas)


def sce(deltas: Sequence[Array], keep: float = 1.0) -> Array:
    stack = np.stack(deltas)
    chosen = stack * top(stack.var(0), keep)
    energy = (chosen**2).reshape(len(deltas), -1).mean(1)
    weights = (energy / energy.sum()).reshape(-1, *[1] * deltas[0].ndim)
    agrees = np.sign(chosen) == np.sign(chosen.sum(0))
    agrees &= chosen != 0
    return (chosen * weights * agrees).sum(0) / np.maximum((weights * agrees).sum(0), 1e-6)


def ram(deltas: Sequence[Array], scales: Sequence[float] | None = None) -> Array:
    out = np.zeros_like(deltas[0])
    for i in np.ndindex(*out.shape):
        active = [(float(d[i]), k) for k, d in enumerate(deltas) if abs(d[i]) > 1e-5]
        if len(active) == 1:
            out[i] = active[0][0] * (scales[active[0][1]] if scales else 1.0)
        elif active:
            out[i] = sum(value for value, _ in active) / len(active)
    return out


def ram_plus(deltas: Sequence[Array], r: float = 0.1, limit: float = 2.0) -> Array:
    active = np.stack([abs(d) > 1e-5 for d in deltas])
    unique = (active & (active.sum(0) == 1)).reshape(len(deltas), -1).sum(1)
    shared = (active & (active.sum(0) > 1)).reshape(len(deltas), -1).sum(1)
    return ram(deltas, [1 + r * min(s / u, limit) if u else 1.0 for u, s in zip(unique, shared, strict=True)])


def model_stock(deltas: Sequence[Array]) -> Array:
    pairs = [cosine(a, b) for a, b in itertools.combinations(deltas, 2)]
    n, cos = len(deltas), float(np.mean(pairs))
    return float(np.clip(n * cos / (1 + (n - 1) * cos) if cos > 0 else 0.0, 0, 1)) * sum(deltas) / n


def iso(matrix: Array, z: float) -> Array:
    if matrix.ndim != 2:
        return matrix
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return u @ np.diag(s.mean() + z * (s - s.mean())) @ v


def iso_c(deltas: Sequence[Array]) -> Array:
    return iso(sum(deltas), 0.0) if deltas[0].ndim == 2 else sum(deltas) / len(deltas)


def cosine(a: Array, b: Array) -> float:
    return float((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()))


def slerp(a: Array, b: Array, t: float = 0.5) -> Array:
    w = math.acos(max(-1.0, min(1.0, cosine(a, b))))
    if w < 1e-6 or math.pi - w < 1e-6:
        return (1 - t) * a + t * b
    return (math.sin((1 - t) * w) * a + math.sin(t * w) * b) / math.sin(w)


def nuslerp(a: Array, b: Array, t: float = 0.5) -> Array:
    la, lb = math.sqrt((a**2).sum()), math.sqrt((b**2).sum())
    return slerp(a / la, b / lb, t) * ((1 - t) * la + t * lb)


def karcher(models: Sequence[Array], steps: int = 200) -> Array:
    lengths = [math.sqrt((m**2).sum()) for m in models]
    units = [m / length for m, length in zip(models, lengths, strict=True)]
    at = sum(units)
    if (at**2).sum() < 1e-18:
        at = units[0]
    at = at / math.sqrt((at**2).sum())
    for _ in range(steps):
        tangent = np.zeros_like(at)
        for u in units:
            c = max(-1.0, min(1.0, float((u * at).sum())))
            w = math.acos(c)
            tangent += (u - c * at) * (w / math.sin(w) if math.sin(w) > 1e-12 else 1.0) / len(units)
        t = math.sqrt((tangent**2).sum())
        if t < 1e-15:
            break
        at = math.cos(t) * at + math.sin(t) * tangent / t
        at = at / math.sqrt((at**2).sum())
    return at * float(np.mean(lengths))


def geometric_median(models: Sequence[Array]) -> Array:
    at = sum(models) / len(models)
    for _ in range(400):
        far = np.array([math.sqrt(((m - at) ** 2).sum()) for m in models])
        if far.mean() == 0:
            break
        pull = 1 / np.maximum(far, 1e-6 * far.mean())
        at = sum(w * m for w, m in zip(pull / pull.sum(), models, strict=True))
    return at


def perpendicular(a: Array, b: Array, c: Array, alpha: float = 1.0) -> Array:
    u, v = a - c, b - c
    return a + alpha * (v - (u * v).sum() / (u * u).sum() * u)


def multiply_difference(a: Array, b: Array, c: Array, alpha: float = 0.5, beta: float = 0.5) -> Array:
    mixed = (1 - beta) * a + beta * b - c
    return c + np.copysign(abs(a - c) ** (1 - alpha) * abs(b - c) ** alpha, mixed)


def similarity_add(a: Array, b: Array, c: Array, alpha: float = 0.5, beta: float = 0.5) -> Array:
    s = beta * (a * b / np.maximum(abs(a), abs(b)) ** 2 + 1) / 2
    return (1 - s) * (a + alpha * (b - c)) + s * ((1 - alpha / 2) * a + alpha / 2 * b)


def train_difference(a: Array, b: Array, c: Array, alpha: float = 1.0) -> Array:
    return a + 1.8 * alpha * abs(b - a) / (abs(b - a) + abs(b - c)) * (b - c)


def extract(a: Array, b: Array, c: Array, alpha: float = 0.5, beta: float = 0.0, gamma: float = 1.0) -> Array:
    u, v = np.atleast_1d(b - a), np.atleast_1d(c - a)
    cos = (u * v).sum(-1) / np.sqrt((u**2).sum(-1) * (v**2).sum(-1))
    q = ((np.clip(cos, -1, 1) + 1) / 2) ** gamma
    share = ((1 - beta) * q + beta * (1 - q))[..., None]
    return a + (((1 - alpha) * u + alpha * v) * share).reshape(a.shape)


def euclidean_add(a: Array, b: Array, c: Array, alpha: float = 0.5) -> Array:
    u, v, s = a - c, b - c, (1 - alpha) * a + alpha * b - c
    r = np.sqrt((1 - alpha) * (u**2) / (u**2).sum() + alpha * (v**2) / (v**2).sum()) * np.where(s < 0, -1, 1)
    return c + r / math.sqrt((r**2).sum()) * math.sqrt((s**2).sum())


def tensor_sum(a: Array, b: Array, width: float = 0.5, offset: float = 0.0) -> Array:
    rows = a.shape[0] if a.ndim else 1
    chosen = [(i - int(rows * offset)) % rows < int(rows * (offset + width)) - int(rows * offset) for i in range(rows)]
    return np.where(np.array(chosen).reshape(-1, *[1] * (a.ndim - 1)) if a.ndim else chosen[0], b, a)


def top_k_sum(a: Array, b: Array, width: float = 0.5, offset: float = 0.0) -> Array:
    out, values = a.ravel().copy(), np.sort(a.ravel())
    sizes = sorted(range(a.size), key=lambda rank: abs(values[rank]))
    for rank, place in enumerate(np.argsort(b.ravel(), kind="stable")):
        if round(a.size * offset) <= sizes.index(rank) < round(a.size * (offset + width)):
            out[place] = values[rank]
    return out.reshape(a.shape)


def geometric_sum(a: Array, b: Array, alpha: float = 0.5) -> Array:
    return (a.astype(complex) ** (1 - alpha) * b.astype(complex) ** alpha).real


def nearswap(a: Array, b: Array, t: float = 0.001) -> Array:
    w = np.clip(t / np.maximum(abs(a - b), 1e-6), 0, 1)
    return w * b + (1 - w) * a


def smooth(x: Array) -> Array:
    if x.ndim == 0:
        return x
    padded = np.pad(x, 1, mode="symmetric")
    middle = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        middle[i] = np.median(padded[tuple(slice(k, k + 3) for k in i)])
    kernel = np.exp(-0.5 * np.arange(-4, 5) ** 2.0)
    kernel /= kernel.sum()
    for axis in range(x.ndim):
        wide = np.pad(middle, [(4, 4) if k == axis else (0, 0) for k in range(x.ndim)], mode="symmetric")
        middle = np.apply_along_axis(lambda line: np.convolve(line, kernel, "valid"), axis, wide)
    return middle


def crossover(a: Array, b: Array, alpha: float = 0.5) -> Array:
    if a.ndim == 0:
        return (1 - alpha) * a + alpha * b
    grids = np.meshgrid(*[np.fft.fftfreq(n) * 2 for n in a.shape], indexing="ij")
    high = np.sqrt(sum(g**2 for g in grids) / a.ndim) > 1 - alpha
    return np.fft.ifftn(np.where(high, np.fft.fftn(b), np.fft.fftn(a))).real


def rotate(a: Array, b: Array) -> Array:
    if a.ndim < 2:
        return a
    width = a.shape[1] if a.ndim == 2 else a[0, 0].size
    x, y = a.reshape(-1, width), b.reshape(-1, width)
    x0, y0 = x - x.mean(0), y - y.mean(0)
    u, _, v = np.linalg.svd(x0.T @ y0)
    return (x0 @ u @ v + y.mean(0)).reshape(a.shape)


def truncate(delta: Array, rank: int) -> Array:
    matrix = delta.reshape(len(delta), -1) if delta.ndim > 1 else delta.reshape(1, -1)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s[rank:] = 0
    return (u @ np.diag(s) @ v).reshape(delta.shape)


def mixed_by_cosine(a: Mapping[str, Array], b: Mapping[str, Array], alpha: float, kind: str) -> dict[str, Array]:
    """SuperMerger's two passes over whole models."""
    combined, pool = {}, []
    for key in a:
        x, y = (m[key].reshape(m[key].shape[0] if m[key].ndim else 1, -1) for m in (a, b))
        columns = np.array([cosine(x[:, i], y[:, i]) for i in range(x.shape[1])])
        u, v = (x / np.sqrt((x**2).sum(0)), y / np.sqrt((y**2).sum(0))) if kind == "a" else (x, y)
        combined[key] = (columns + cosine(u, v)) / 2
        pool.append(columns if kind == "a" else combined[key])
    values = np.sort(np.concatenate(pool))
    for share, end in ((0.01, 0), (0.99, 1)):  # the second percentile is that of what the first has left
        at = share * (len(values) - 1)
        edge = (values[int(np.floor(at))] + values[int(np.ceil(at))]) / 2
        values = values[values <= edge] if end else values[values >= edge]
    out = {}
    for key in a:
        k = np.clip((combined[key] - values.min()) / (values.max() - values.min()) - alpha, 0, 1)
        x, y = (m[key].reshape(m[key].shape[0] if m[key].ndim else 1, -1) for m in (a, b))
        out[key] = (k * x + (1 - k) * y).reshape(a[key].shape)
    return out


# formula -> its value for arrays a, b, c, d
CASES: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "mean(a, b, c)": lambda a, b, c, d: (a + b + c) / 3,
    "weighted_sum(a, b, 0.3)": lambda a, b, c, d: 0.7 * a + 0.3 * b,
    "add_difference(a, b, c, 0.7)": lambda a, b, c, d: a + 0.7 * (b - c),
    "sum_twice(a, b, c, 0.2, 0.3)": lambda a, b, c, d: 0.7 * (0.8 * a + 0.2 * b) + 0.3 * c,
    "triple_sum(a, b, c, 0.2, 0.3)": lambda a, b, c, d: 0.5 * a + 0.2 * b + 0.3 * c,
    "subtract(a, b, 0.25)": lambda a, b, c, d: (a - 0.25 * b) / 0.75,
    "perpendicular(a, b, c, 0.8)": lambda a, b, c, d: perpendicular(a, b, c, 0.8),
    "clamp(a + (b - c), a, b)": lambda a, b, c, d: np.clip(a + b - c, np.minimum(a, b), np.maximum(a, b)),
    "multiply_difference(a, b, c, 0.3, 0.6)": lambda a, b, c, d: multiply_difference(a, b, c, 0.3, 0.6),
    "similarity_add(a, b, c, 0.7, 0.4)": lambda a, b, c, d: similarity_add(a, b, c, 0.7, 0.4),
    "euclidean_add(a, b, c, 0.3)": lambda a, b, c, d: euclidean_add(a, b, c, 0.3),
    "train_difference(a, b, c, 0.5)": lambda a, b, c, d: train_difference(a, b, c, 0.5),
    "smooth_add(a, b, c, 0.5)": lambda a, b, c, d: a + 0.5 * smooth(b - c),
    "extract(a, b, c, 0.3, 0.2, 2)": lambda a, b, c, d: extract(a, b, c, 0.3, 0.2, 2.0),
    "tensor_sum(a, b, 0.5, 0.7)": lambda a, b, c, d: tensor_sum(a, b, 0.5, 0.7),
    "top_k_sum(a, b, 0.5, 0.25)": lambda a, b, c, d: top_k_sum(a, b, 0.5, 0.25),
    "geometric_sum(a, b, 0.3)": lambda a, b, c, d: geometric_sum(a, b, 0.3),
    "nearswap(a, b, 0.01)": lambda a, b, c, d: nearswap(a, b, 0.01),
    "ties(a, [b, c, d], keep=0.3)": lambda a, b, c, d: a + ties([b - a, c - a, d - a], 0.3),
    "ties(a, b, c, d, keep=1, vote='count')": lambda a, b, c, d: a + ties([b - a, c - a, d - a], 1.0, "count"),
    "ties_soup(a, b, c, d)": lambda a, b, c, d: a + ties([b - a, c - a, d - a], 1.0, "count"),
    "breadcrumbs(a, b, c, keep=0.4, outliers=0.1)": lambda a, b, c, d: a + breadcrumbs([b - a, c - a], 0.4, 0.1),
    "k_sigma(a, b, c, k=0.8)": lambda a, b, c, d: a + k_sigma([b - a, c - a], 0.8),
    "sce(a, b, c, d, keep=0.5)": lambda a, b, c, d: a + sce([b - a, c - a, d - a], 0.5),
    "ram(a, [a + 0.001*(b - a), c, a + 0.0001*(d - a)])": lambda a, b, c, d: (
        a + ram([0.001 * (b - a), c - a, 0.0001 * (d - a)])
    ),
    "ram_plus(a, [a + 0.001*(b - a), c, a + 0.0001*(d - a)], r=0.3)": lambda a, b, c, d: (
        a + ram_plus([0.001 * (b - a), c - a, 0.0001 * (d - a)], 0.3)
    ),
    "model_stock(a, b, c, d)": lambda a, b, c, d: a + model_stock([b - a, c - a, d - a]),
    "a + iso_c(b - a, c - a)": lambda a, b, c, d: a + iso_c([b - a, c - a]),
    "a + iso_z(b - a, 0.6)": lambda a, b, c, d: a + iso((b - a), 0.6),
    "slerp(a, b, 0.3)": lambda a, b, c, d: slerp(a, b, 0.3),
    "c + slerp(a - c, b - c, 0.3)": lambda a, b, c, d: c + slerp(a - c, b - c, 0.3),
    "nuslerp(a, b, 0.3)": lambda a, b, c, d: nuslerp(a, b, 0.3),
    "multislerp(a, b, c)": lambda a, b, c, d: karcher([a, b, c], 1),
    "karcher(a, b, c)": lambda a, b, c, d: karcher([a, b, c]),
    "geometric_median(a, b, c, d)": lambda a, b, c, d: geometric_median([a, b, c, d]),
    "crossover(a, b, 0.4)": lambda a, b, c, d: crossover(a, b, 0.4),
    "a + truncate_rank(b - a, 2)": lambda a, b, c, d: a + truncate(b - a, 2),
    "rotate(a, b)": lambda a, b, c, d: rotate(a, b),
}
