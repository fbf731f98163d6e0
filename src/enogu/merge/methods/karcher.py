"""The mean of directions on the sphere."""

from torch import Tensor

from enogu.merge.method import Alike, Alikes, Pieces, method
from enogu.merge.sphere import Sphere
from enogu.merge.statistics import gram, mixture

STEPS = 100
TOLERANCE = 1e-12  # radians


def coefficients(pieces: Pieces) -> Tensor:
    """Return coefficients of the Karcher mean times the mean length; every iterate is a sum of the inputs."""
    sphere = Sphere(gram(pieces))
    at = sphere.start()
    for _ in range(STEPS):
        before, at = at, sphere.step(at)
        if sphere.length(at - before) < TOLERANCE:
            break
    return sphere.scaled(at)


@method(grain="linear", measure=coefficients)
def karcher(models: Alikes, *, measured: Tensor) -> Alike:
    """Average directions by the Riemannian centre of mass (Karcher 1977), and lengths by their mean."""
    result: Tensor = mixture(models, measured)
    return result
