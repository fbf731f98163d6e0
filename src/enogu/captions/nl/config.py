"""Which program is asked for sentences, and how patiently."""

from dataclasses import dataclass
from typing import Annotated

from enogu.core.records.errors import Refused
from enogu.core.records.reference import Ref


@dataclass(frozen=True, kw_only=True)
class NlConfig:
    """Sentences about pictures from a program of the maker's own."""

    posts: Annotated[str, Ref("posts", "tagged")]
    command: tuple[str, ...]  # the program and its arguments; no shell looks at them
    folder: str = "."  # where the program runs, from the recipe
    batch: int = 1000  # posts that one run of the program is asked about
    patience: float = 600.0  # seconds without an answer after which a run is ended
    longest: int = 2000  # characters of a text; longer ones are left out

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        if not self.command or not self.command[0]:
            raise Refused('command in [nl] is empty: give a program and its arguments, as in ["python", "describe.py"]')
        for name in ("batch", "patience", "longest"):
            if getattr(self, name) <= 0:
                raise Refused(f"{name} = {getattr(self, name)} in [nl]: give more than 0")
