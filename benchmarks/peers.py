"""diffusers' and transformers' networks with our weights, and the check that they say what ours say.

The keys go through diffusers' own converters for CompVis files, so the check covers our layout too.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

import enogu
from enogu.core.networks.checkpoint import TEXT, Checkpoint, build, load
from enogu.core.networks.chunks import chunk_tokens
from enogu.core.networks.family import Family, family
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.tokenizer import BOS, EOS, tokenize

SHIPPED = Path(enogu.__file__).parent / "mini" / "data" / "mini-sd1.safetensors"
CLOSE = 1e-4  # largest difference allowed, as a share of the largest value


@dataclass(frozen=True)
class Peers:
    """The three networks of the other libraries."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel


def random_start(name: str = "mini-sd1") -> Checkpoint:
    """Return a checkpoint of random weights, without the zeros that training starts from."""
    torch.manual_seed(0)
    model = StableDiffusion(family(name))
    for parameter in model.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.02)
    return Checkpoint(model.family, {key: value.clone() for key, value in model.state_dict().items()}, {})


def shipped_start() -> tuple[Checkpoint, str]:
    """Return the base that the package carries and its name, or random weights where it carries none."""
    if SHIPPED.exists():
        return load(SHIPPED), SHIPPED.name
    return random_start(), "random weights"


def peers(start: Checkpoint) -> Peers:
    """Build the other libraries' networks and load a checkpoint into them; a key too many or too few is an error."""
    tensors = {key: value.float() for key, value in start.tensors.items()}
    unet, vae, text = _unet(start.family), _vae(start.family), _text(start.family)
    unet.load_state_dict(convert_ldm_unet_checkpoint(dict(tensors), dict(unet.config)))
    vae.load_state_dict(convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config)))
    prefix = "text_model." if any(key.startswith("text_model.") for key in text.state_dict()) else ""
    wanted = {prefix + key.removeprefix(TEXT): value for key, value in tensors.items() if key.startswith(TEXT)}
    found = text.load_state_dict(wanted, strict=False)
    assert not found.unexpected_keys, found
    assert all(key.endswith("position_ids") for key in found.missing_keys), found
    return Peers(unet.eval(), vae.eval(), text.eval())


def differences(start: Checkpoint) -> dict[str, float]:
    """Return how far ours and theirs lie apart, as a share of the largest value."""
    ours, theirs = build(start, "benchmark").eval(), peers(start)
    normal = torch.Generator().manual_seed(1)
    shapes = {"square": (4, 8, 8), "wide": (4, 8, 16), "odd": (4, 20, 12)}
    tokens = torch.from_numpy(chunk_tokens(tokenize("1girl, blue hair, straw hat, smile, looking at viewer")))
    pairs: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {}
    with torch.inference_mode():
        context = theirs.text(tokens)[0]
        pairs["text encoder"] = lambda: (ours.encode_text(tokens[None]), context)
        hidden = theirs.text(tokens, output_hidden_states=True).hidden_states[-2]
        normed = _final_norm(theirs.text)(hidden)
        pairs["text encoder, clip skip 2"] = lambda: (ours.encode_text(tokens[None], clip_skip=2), normed)
        for name, shape in shapes.items():
            x, t = torch.randn(2, *shape, generator=normal), torch.tensor([3.0, 781.0])
            said = context.expand(2, -1, -1)
            pairs[f"UNet, {name}"] = lambda x=x, t=t, said=said: (ours.unet(x, t, said), theirs.unet(x, t, said).sample)
            z = torch.randn(1, *shape, generator=normal)
            rgb = torch.rand(1, 3, shape[1] * 8, shape[2] * 8, generator=normal) * 2 - 1
            pairs[f"VAE encoder, {name}"] = lambda rgb=rgb: (
                ours.vae.moments(rgb),
                theirs.vae.encode(rgb).latent_dist.parameters,
            )
            pairs[f"VAE decoder, {name}"] = lambda z=z: (ours.vae.decode(z), theirs.vae.decode(z).sample)
        return {name: _apart(*work()) for name, work in pairs.items()}


def main() -> int:
    """Print the differences; exit 1 if one is too large."""
    start, name = shipped_start()
    wrong = 0
    print(f"ours against diffusers and transformers, {name}: largest difference as a share of the largest value")
    for what, apart in differences(start).items():
        wrong += apart > CLOSE
        print(f"  {what:<28}{apart:9.1e}{'' if apart <= CLOSE else '  TOO FAR'}")
    return 1 if wrong else 0


def _apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _final_norm(text: nn.Module) -> nn.Module:
    (norm,) = (module for name, module in text.named_modules() if name.endswith("final_layer_norm"))
    return norm


def _unet(family: Family) -> UNet2DConditionModel:
    sizes = family.unet
    kinds = ["CrossAttn" if attention else "" for attention in sizes.attention]
    return UNet2DConditionModel(
        block_out_channels=tuple(sizes.channels * multiplier for multiplier in sizes.multipliers),
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        layers_per_block=sizes.blocks,
        attention_head_dim=sizes.heads,  # diffusers' name for SD1's number of heads
        cross_attention_dim=sizes.context,
        norm_num_groups=sizes.groups,
        sample_size=8,
    )


def _vae(family: Family) -> AutoencoderKL:
    sizes = family.vae
    levels = len(sizes.multipliers)
    return AutoencoderKL(
        block_out_channels=tuple(sizes.channels * multiplier for multiplier in sizes.multipliers),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=sizes.blocks,
        latent_channels=sizes.latent,
        norm_num_groups=sizes.groups,
        scaling_factor=family.latent_scale,
    )


def _text(family: Family) -> CLIPTextModel:
    sizes = family.text
    facts: Mapping[str, Any] = {"bos_token_id": BOS, "eos_token_id": EOS, "hidden_act": "quick_gelu"}
    config = CLIPTextConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        intermediate_size=4 * sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        max_position_embeddings=sizes.positions,
        **facts,
    )
    return CLIPTextModel(config)


if __name__ == "__main__":
    sys.exit(main())
