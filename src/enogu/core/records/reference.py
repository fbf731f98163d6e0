"""The mark on a config field that names another stage of the recipe."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ref:
    """Annotates a field, as in `posts: Annotated[str, Ref("posts")]`: a stage of one of these kinds.

    The kind "model" stands for anything that yields a checkpoint: a file of [models], or a stage
    of a kind that ends with one; `NAME@IMAGES` picks a training checkpoint by its image count.
    """

    kinds: tuple[str, ...]

    def __init__(self, *kinds: str) -> None:
        """Accept stages of any of `kinds`."""
        object.__setattr__(self, "kinds", kinds)
