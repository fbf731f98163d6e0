"""CLIP's text encoder (Radford et al. 2021), keyed as the transformers library's text_model is."""

import torch
from torch import Tensor, nn

from enogu.core.networks.family import TextWidths
from enogu.core.networks.layers import attend
from enogu.core.records.errors import Refused


class Embeddings(nn.Module):
    """Tokens and positions."""

    def __init__(self, widths: TextWidths) -> None:
        """Build from the table of widths."""
        super().__init__()
        self.token_embedding = nn.Embedding(widths.vocabulary, widths.width)
        self.position_embedding = nn.Embedding(widths.positions, widths.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 77) -> (B, 77, C)."""
        out: Tensor = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        return out


class SelfAttention(nn.Module):
    """Causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        """Build with four projections."""
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> same."""
        y = attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), heads=self.heads, causal=True)
        out: Tensor = self.out_proj(y)
        return out


class MLP(nn.Module):
    """Two linear layers with QuickGELU, as OpenAI's CLIP-L."""

    def __init__(self, width: int) -> None:
        """Widen by four in between."""
        super().__init__()
        self.fc1 = nn.Linear(width, width * 4)
        self.fc2 = nn.Linear(width * 4, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> same."""
        h = self.fc1(x)
        out: Tensor = self.fc2(h * torch.sigmoid(1.702 * h))
        return out


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        """Build for `width` channels."""
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.layer_norm1 = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.layer_norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> same."""
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class Layers(nn.Module):
    """The stack of layers."""

    def __init__(self, widths: TextWidths) -> None:
        """Build from the table of widths."""
        super().__init__()
        self.layers = nn.ModuleList([Layer(widths.width, widths.heads) for _ in range(widths.layers)])


class TextModel(nn.Module):
    """The text model."""

    def __init__(self, widths: TextWidths) -> None:
        """Build from the table of widths."""
        super().__init__()
        self.embeddings = Embeddings(widths)
        self.encoder = Layers(widths)
        self.final_layer_norm = nn.LayerNorm(widths.width)

    def forward(self, tokens: Tensor, clip_skip: int = 1) -> Tensor:
        """(B, 77) -> (B, 77, C): the state `clip_skip` layers from the end, then the final norm (A1111's counting)."""
        x = self.embeddings(tokens)
        layers = list(self.encoder.layers)
        if not 1 <= clip_skip <= len(layers):
            raise Refused(
                f"clip_skip = {clip_skip}: this text encoder has {len(layers)} layers; give 1 to {len(layers)}"
            )
        for layer in layers[: len(layers) - clip_skip + 1]:
            x = layer(x)
        out: Tensor = self.final_layer_norm(x)
        return out
