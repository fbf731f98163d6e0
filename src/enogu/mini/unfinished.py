"""A run of this room that is not finished: what changes while it goes on, kept on disk and put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from enogu.core.networks.groups import load_groups, save_groups
from enogu.core.networks.moments import moments, put_back


@dataclass(frozen=True)
class Unfinished:
    """Networks, their optimizer and averaged weights, with the file they are kept in."""

    path: Path
    net: nn.Module
    optimizer: torch.optim.AdamW
    average: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, update: int) -> None:
        """Write the state after a number of updates."""
        groups = {"weights": self.net.state_dict(), **moments(self.optimizer, dict(self.net.named_parameters()))}
        averages = {"average": self.average} if self.average else {}
        save_groups(self.path, groups | averages, {"update": update})

    @torch.no_grad()
    def restore(self) -> int:
        """Put back the last state, if there is one, and return the number of updates it had."""
        if not self.path.exists():
            return 0
        groups, note = load_groups(self.path)
        self.net.load_state_dict(groups["weights"])
        for name, value in groups.get("average", {}).items():
            self.average[name].copy_(value)
        put_back(self.optimizer, dict(self.net.named_parameters()), groups)
        return int(note["update"])
