"""Spherical interpolation of any number of tensors."""

from torch import Tensor

from enogu.merge.method import Alike, Alikes, Pieces, method
from enogu.merge.sphere import Sphere
from enogu.merge.statistics import gram, mixture


def coefficients(pieces: Pieces) -> Tensor:
    """Return coefficients: one step of the Karcher mean from the normalised mean, times the mean length."""
    sphere = Sphere(gram(pieces))
    return sphere.scaled(sphere.step(sphere.start()))


@method(grain="linear", measure=coefficients)
def multislerp(models: Alikes, *, measured: Tensor) -> Alike:
    """Average directions in the tangent space at their mean, and average lengths (goddard; mergekit, "Multi-SLERP")."""
    result: Tensor = mixture(models, measured)
    return result
