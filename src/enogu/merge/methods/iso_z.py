"""Isotropic merging by degrees."""

from enogu.merge.method import Delta, method
from enogu.merge.methods.iso_c import is_matrix, reshape_spectrum


@method(grain="tensor")
def iso_z(delta: Delta, *, z: float = 0.8, convolutions: float = 0.0) -> Delta:
    """Move singular values towards their mean: mean + z (value - mean); 1 changes nothing (6DammK9, "Iso-Z")."""
    if not is_matrix(delta, convolutions):
        return delta
    return reshape_spectrum(delta.reshape(len(delta), -1), z).reshape(delta.shape)
