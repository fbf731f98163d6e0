"""What the result of a merge predicts, from what its models say of themselves."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from enogu.core.networks.header import Header
from enogu.core.networks.layouts import find_layout
from enogu.core.networks.prediction import Prediction, markers, prediction


@dataclass(frozen=True)
class Objective:
    """The prediction that the result is marked with, and what each model says that its UNet is made of."""

    prediction: Prediction
    told: Mapping[str, Prediction]

    @property
    def agreeing(self) -> tuple[str, ...]:
        """Return the models that say what the result is marked with."""
        return tuple(
            name for name, each in self.told.items() if _says(each) and _marks(each) == _marks(self.prediction)
        )

    def holder(self, key: str, headers: Mapping[str, Header]) -> str:
        """Return the model whose marker tensor is true of the result, or nothing."""
        names = (*self.agreeing, *(name for name, each in self.told.items() if not _says(each)))
        return next((name for name in names if key in headers[name].tensors), "")

    def warnings(self, headers: Mapping[str, Header]) -> Iterator[str]:
        """Yield a warning where models contradict each other, and one where UIs would not see what they say."""
        said = {name: each for name, each in self.told.items() if _says(each)}
        if len(set(map(_marks, said.values()))) > 1:
            listed = ", ".join(f"{name}: {_spoken(each)}" for name, each in said.items())
            yield f"the models differ in what they predict ({listed}); the result is marked as {self.agreeing[0]}"
        layout = find_layout(headers[next(iter(self.told))]) if self.told else None
        if layout and "xl" in layout.architecture:
            for marker in markers(self.prediction):
                if not self.holder(marker, headers):
                    yield f"no model has the marker {marker} that UIs look for: enogu convert --predicts v --ztsnr"

    def __str__(self) -> str:
        """Return what the result predicts, who says so and who says nothing."""
        if not self.agreeing:
            return "not said by any model"
        quiet = [name for name, each in self.told.items() if not _says(each)]
        says = ", ".join(f"{name} says so ({self.told[name].source or 'ztsnr'})" for name in self.agreeing)
        return "; ".join([f"{_spoken(self.prediction)}, {says}", *([f"{', '.join(quiet)}: not said"] if quiet else [])])


def objective(models: Iterable[str], headers: Mapping[str, Header]) -> Objective:
    """Return what the models agree on; where they contradict each other, the first that says anything decides."""
    told = {name: prediction(headers[name]) for name in models}
    return Objective(next(filter(_says, told.values()), Prediction("", False, "")), told)


def _says(told: Prediction) -> bool:
    return bool(told.kind) or told.zero_terminal_snr


def _marks(told: Prediction) -> tuple[str, bool]:
    return told.kind, told.zero_terminal_snr


def _spoken(told: Prediction) -> str:
    return (told.kind or "not said") + (" with zero terminal SNR" if told.zero_terminal_snr else "")
