"""The one training loop."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil, isfinite
from typing import TypeVar

import torch

from enogu.core.records.progress import Progress
from enogu.train.config import Phase, TrainConfig
from enogu.train.curves import Curves
from enogu.train.data import Batch, Captions, LatentSet, Plan, batches
from enogu.train.keeper import Keeper
from enogu.train.objective import draw
from enogu.train.position import Position
from enogu.train.tuner import Tuner
from enogu.train.validation import Validation

Item = TypeVar("Item")
LOG_EVERY = 10  # batches between points of the training loss


class Loop:
    """Trains through the phases; everything it needs to know is in its arguments."""

    def __init__(
        self,
        config: TrainConfig,
        tuner: Tuner,
        *,
        latents: Mapping[str, LatentSet],
        captions: Captions,
        plan: Plan,
        curves: Curves,
        keeper: Keeper,
        progress: Progress,
    ) -> None:
        """Prepare; nothing is trained yet."""
        self.config = config
        self.tuner = tuner
        self.latents = latents
        self.captions = captions
        self.plan = plan
        self.curves = curves
        self.keeper = keeper
        self.progress = progress
        self.lengths = [self._length(phase) for phase in config.phases]
        self.total = sum(self.lengths)

    def run(self, at: Position) -> Position:
        """Train from a position to the end, and return the last position."""
        for number in range(at.phase, len(self.config.phases)):
            phase = self.config.phases[number]
            if number != at.phase:
                at = replace(at, phase=number, epoch=at.epoch + 1, number=0, phase_images=0)
            self.tuner.begin(phase, reset=phase.optimizer == "reset" and at.phase_images == 0 and number > 0)
            at = self._phase(phase, at)
            self.keeper.keep(at, end_of_phase=True)
        return at

    def _phase(self, phase: Phase, at: Position) -> Position:
        data = self._data(phase)
        batch, total, name = phase.batch or self.config.batch, self.lengths[at.phase], self.config.phase_name(at.phase)
        validation = Validation(data, self.captions, self.config.seed, self.config.chunks, phase.captions)
        trains_text = phase.lr.te > 0
        points: list[torch.Tensor] = []
        if at.phase_images == 0:
            self._validate(validation, at.images, name)
        stream = batches(
            data,
            self.captions,
            self.plan,
            batch=batch,
            seed=self.config.seed,
            chunks=self.config.chunks,
            set=phase.captions,
            at=(at.epoch, at.number),
        )
        for item in ahead(stream):
            if at.phase_images >= total:
                break
            loss = self._loss(item, at, trains_text)
            norm = self.tuner.step(loss, phase, done=at.phase_images, total=total)
            at = _advanced(at, item, batch)
            if self.tuner.average:
                self.tuner.average.update(self.tuner.parameters, images=at.images, batch=batch)
            if isfinite(norm):
                points.append(torch.stack([loss.detach().cpu(), torch.tensor(norm)]))
            if at.updates % LOG_EVERY == 0 or at.phase_images >= total or self.keeper.is_due(at, batch):
                self._log(at, points)  # before a save, so that no mean straddles it
                points = []
            if at.phase_images >= total or self._due(at, batch):
                self._validate(validation, at.images, name)
            self.keeper.visit(at, batch)
            self.progress(at.images, self.total, f"images, {name}")
        return at

    def _loss(self, item: Batch, at: Position, trains_text: bool) -> torch.Tensor:
        size = len(item.moments)
        counts = range(at.images, at.images + size)
        shape = (item.moments.shape[1] // 2, *item.moments.shape[2:])
        draws = draw(self.config.seed, counts, shape, timesteps=len(self.tuner.objective.abar))
        return self.tuner.objective.loss(item.moments, item.tokens, draws, train_text=trains_text)

    def _log(self, at: Position, points: list[torch.Tensor]) -> None:
        if not points:
            return
        loss, norm = torch.stack(points).mean(dim=0).tolist()
        rates = {f"lr_{group['part']}": group["lr"] for group in self.tuner.optimizer.param_groups}
        self.curves.add(
            at.images, self.config.phase_name(at.phase), loss=loss, grad_norm=norm, lr=rates["lr_unet"], **rates
        )

    def _validate(self, validation: Validation, images: int, name: str) -> None:
        if validation.data.held_out.is_empty():
            return
        average = self.tuner.average
        if average:
            average.swap(self.tuner.parameters)
        loss = validation.loss(self.tuner.objective)
        if average:
            average.swap(self.tuner.parameters)
        self.curves.add(images, name, val_loss=loss)

    def _due(self, at: Position, batch: int) -> bool:
        every = self.config.validate_images or ceil(self.total / 10)
        return at.images // every > (at.images - batch) // every

    def _data(self, phase: Phase) -> LatentSet:
        return self.latents[phase.latents or self.config.latents[0]]

    def _length(self, phase: Phase) -> int:
        wanted = phase.images or round(phase.epochs * self._data(phase).pictures)
        batch = phase.batch or self.config.batch
        return max(1, round(wanted / batch)) * batch


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items, each prepared in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, items)
        while True:
            item = waiting.result()
            waiting = thread.submit(next, items)
            yield item


def _advanced(at: Position, item: Batch, batch: int) -> Position:
    return replace(
        at,
        epoch=item.epoch,
        number=item.number + 1,
        phase_images=at.phase_images + batch,
        images=at.images + batch,
        updates=at.updates + 1,
    )
