"""The uniform average of any number of models."""

from enogu.merge.method import Alike, Alikes, method


@method(grain="linear")
def mean(models: Alikes) -> Alike:
    """Average models uniformly: model soups (Wortsman et al. 2022, arXiv 2203.05482)."""
    return sum(models[1:], start=models[0]) / len(models)
