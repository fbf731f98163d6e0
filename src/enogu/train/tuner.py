"""What a run holds in memory: the networks, the optimizer and the averaged weights."""

from collections.abc import Mapping
from math import isfinite

import torch
from torch import Tensor

from enogu.core.networks.checkpoint import TEXT, UNET, Checkpoint, build
from enogu.core.networks.finite import is_finite
from enogu.core.networks.moments import moments, put_back
from enogu.core.records.errors import Failed
from enogu.train.average import Average
from enogu.train.config import Phase, TrainConfig
from enogu.train.objective import Objective
from enogu.train.schedule import rate_factor

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
MOST_LOST = 10


def autocasts(precision: str, device: str) -> bool:
    """Tell whether the arithmetic is bf16; "auto" takes it where the processor multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if device == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())
    return bool(torch.cuda.is_bf16_supported())


class Tuner:
    """Updates the UNet and the text encoder with AdamW (Loshchilov and Hutter 2019), fp32 master weights."""

    def __init__(self, config: TrainConfig, start: Checkpoint, device: str) -> None:
        """Build the networks of a checkpoint on a device."""
        self.config = config
        self.start = start
        self.model = build(start, config.start).to(device).requires_grad_(False)
        self.model.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.autocast = autocasts(config.precision, device)
        self.objective = Objective(
            self.model,
            weighting=config.weighting,
            gamma=config.gamma,
            clip_skip=config.clip_skip,
            autocast=self.autocast,
        )
        state = dict(self.model.named_parameters())
        self.parts = {"unet": _under(state, UNET), "te": _under(state, TEXT)}
        self.parameters: dict[str, Tensor] = {**self.parts["unet"], **self.parts["te"]}
        self.average = Average(self.parameters, config.ema_images) if config.ema_images else None
        self.optimizer = self._optimizer()
        self.lost = 0  # batches left out because their gradient was not finite
        self.lost_in_a_row = 0

    def begin(self, phase: Phase, *, reset: bool) -> None:
        """Freeze what a phase freezes; drop the moments if it asks for new ones."""
        for part, parameters in self.parts.items():
            for parameter in parameters.values():
                parameter.requires_grad_(getattr(phase.lr, part) > 0)
                parameter.grad = None
        if reset:
            self.optimizer = self._optimizer()

    def step(self, loss: Tensor, phase: Phase, *, done: int, total: int) -> float:
        """Apply one update and return the gradient's norm before clipping; a norm that is not finite is left out."""
        factor = rate_factor(phase, done, total)
        for group in self.optimizer.param_groups:
            group["lr"] = getattr(phase.lr, group["part"]) * factor
        loss.backward()  # type: ignore[no-untyped-call]
        trained = [p for p in self.parameters.values() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.config.clip_norm or torch.inf)
        if isfinite(norm):
            self.optimizer.step()
            self.lost_in_a_row = 0
        else:
            self._lose()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def _lose(self) -> None:
        """Count a batch whose gradient was not finite: one is chance, many are a run that broke."""
        self.lost += 1
        self.lost_in_a_row += 1
        if self.lost_in_a_row >= MOST_LOST:
            raise Failed(
                f"the gradient of {MOST_LOST} batches in a row is not finite; the state before them is kept. "
                "Lower the learning rate, or set precision = 'fp32'"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds: the start's tensors with the trained (or averaged) ones in their place."""
        kept = self.average.values if self.average else self.parameters
        dtype = DTYPES[self.config.dtype]
        return {
            key: kept[key].detach().to(dtype).contiguous() if key in kept else tensor
            for key, tensor in self.start.tensors.items()
        }

    def broken(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Return the first tensor of a checkpoint that is not finite though the start's is."""
        spoilt = (key for key, tensor in tensors.items() if not is_finite(tensor))
        return next((key for key in spoilt if is_finite(self.start.tensors[key])), None)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return everything that an exact resume needs, by group and name."""
        averages = {"average": self.average.values} if self.average else {}
        return {"weights": dict(self.parameters), **moments(self.optimizer, self.parameters), **averages}

    @torch.no_grad()
    def restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Put back what `state` returned."""
        for name, value in groups["weights"].items():
            self.parameters[name].copy_(value)
        for name, value in groups.get("average", {}).items():
            assert self.average is not None
            self.average.values[name].copy_(value)
        put_back(self.optimizer, self.parameters, groups)

    def _optimizer(self) -> torch.optim.AdamW:
        groups = [{"params": list(parameters.values()), "part": part} for part, parameters in self.parts.items()]
        return torch.optim.AdamW(
            groups, lr=0.0, betas=self.config.betas, weight_decay=self.config.weight_decay, fused=True
        )


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith(prefix)}
