"""TIES without trimming, the signs counted: an average that outliers cannot sway."""

from enogu.merge.method import Delta, Deltas, method
from enogu.merge.methods.ties import agreeing_mean, no_cuts


@method(grain="element")
def ties_soup(deltas: Deltas) -> Delta:
    """Average the elements that have the sign of the majority (6DammK9, "TIES-SOUP")."""
    return agreeing_mean(deltas, no_cuts(deltas), "count")
