"""What a run leaves on disk while it goes: checkpoints to look at, and the state to go on from."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from enogu.core.networks.checkpoint import save
from enogu.core.networks.groups import load_groups, save_groups
from enogu.core.records.errors import Failed
from enogu.train.config import TrainConfig
from enogu.train.position import Position
from enogu.train.tuner import Tuner


class Keeper:
    """Saves by image count."""

    def __init__(self, folder: Path, config: TrainConfig, tuner: Tuner, *, state_images: int, recipe: str) -> None:
        """Write under `folder`; `recipe` goes into every checkpoint's header."""
        self.folder = folder
        self.config = config
        self.tuner = tuner
        self.state_images = state_images
        self.recipe = recipe

    @property
    def state_path(self) -> Path:
        """Return where the state lies."""
        return self.folder / "state" / "state.safetensors"

    def restore(self) -> Position | None:
        """Load the last state into the tuner and return its position; None if there is none."""
        if not self.state_path.exists():
            return None
        groups, note = load_groups(self.state_path)
        position = Position(**note)
        self.tuner.begin(self.config.phases[position.phase], reset=False)
        self.tuner.restore(groups)
        return position

    def visit(self, at: Position, batch: int) -> None:
        """Save what is due after a batch."""
        if _passed(at, batch, self.config.checkpoint_images):
            self.checkpoint(at)
        if _passed(at, batch, self.state_images):
            self.save_state(at)

    def is_due(self, at: Position, batch: int) -> bool:
        """Tell whether `visit` will save something."""
        return any(_passed(at, batch, every) for every in (self.config.checkpoint_images, self.state_images))

    def keep(self, at: Position, *, end_of_phase: bool) -> None:
        """Save the state, and the checkpoint that ends a phase."""
        if end_of_phase:
            self.checkpoint(at)
        self.save_state(at)

    def save_state(self, at: Position) -> None:
        """Save everything needed to go on."""
        save_groups(self.state_path, self.tuner.state(), asdict(at))

    def checkpoint(self, at: Position) -> Path:
        """Save the weights as `checkpoints/IMAGES.safetensors`."""
        path = self.folder / "checkpoints" / f"{at.images:08d}.safetensors"
        if not path.exists():
            tensors = self.tuner.tensors()
            if broken := self.tuner.broken(tensors):
                raise Failed(
                    f"after {at.images} images {broken} holds values that are not finite in {self.config.dtype}, so no "
                    "model is saved; lower lr, or set dtype = 'fp32' if the curves look sound"
                )
            save(path, tensors, self.metadata(at))
        return path

    def metadata(self, at: Position) -> Mapping[str, str]:
        """Return the header of a checkpoint: what every UI looks for, and the recipe."""
        family = self.tuner.model.family
        return {
            "format": "pt",
            "modelspec.sai_model_spec": "1.0.0",
            "modelspec.architecture": "stable-diffusion-v1",
            "modelspec.implementation": "https://github.com/CompVis/stable-diffusion",
            "modelspec.prediction_type": {"eps": "epsilon", "v": "v"}[family.prediction],
            "modelspec.title": f"{family.name} after {at.images} images",
            "enogu.family": family.name,
            "enogu.images": json.dumps(at.images),
            "enogu.train": self.recipe,
        }


def _passed(at: Position, batch: int, every: int) -> bool:
    """Tell whether the last batch passed a multiple of `every` images."""
    return every > 0 and at.images // every > (at.images - batch) // every
