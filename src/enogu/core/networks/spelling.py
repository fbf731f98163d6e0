"""How the LDM single-file layout spells networks: a module's sizes in, its keys and shapes out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Keys = Iterator[tuple[str, tuple[int, ...]]]
VOCABULARY, POSITIONS = 49408, 77  # CLIP's tokens and its longest text


def unet(size: Mapping[str, Any]) -> Keys:
    """Yield the keys of openaimodel.UNetModel (CompVis latent-diffusion; Stability generative-models)."""
    channels, time = size["channels"], 4 * size["channels"]
    yield from _affine("time_embed.0", time, channels)
    yield from _affine("time_embed.2", time, time)
    if labels := size.get("labels"):
        yield from _affine("label_emb.0.0", time, labels)
        yield from _affine("label_emb.0.2", time, time)
    yield from _affine("input_blocks.0.0", channels, size["inputs"], 3, 3)
    skips, width, number = [channels], channels, 1
    levels = list(zip(size["multipliers"], size["depths"], strict=True))
    for level, (multiplier, depth) in enumerate(levels):
        for _ in range(size["blocks"]):
            yield from _unet_block(f"input_blocks.{number}", (width, multiplier * channels), depth, size=size)
            width, number = multiplier * channels, number + 1
            skips.append(width)
        if level < len(levels) - 1:
            yield from _affine(f"input_blocks.{number}.0.op", width, width, 3, 3)
            skips.append(width)
            number += 1
    yield from _resnet("middle_block.0", width, width, time=time)
    yield from _transformer("middle_block.1", width, size["middle"], size=size)
    yield from _resnet("middle_block.2", width, width, time=time)
    number = 0
    for level, (multiplier, depth) in reversed(list(enumerate(levels))):
        for index in range(size["blocks"] + 1):
            prefix, inputs = f"output_blocks.{number}", width + skips.pop()
            yield from _unet_block(prefix, (inputs, multiplier * channels), depth, size=size)
            width, number = multiplier * channels, number + 1
            if level and index == size["blocks"]:
                yield from _affine(f"{prefix}.{2 if depth else 1}.conv", width, width, 3, 3)
    yield from _affine("out.0", width)
    yield from _affine("out.2", size["outputs"], width, 3, 3)


def vae(size: Mapping[str, Any]) -> Keys:
    """Yield the keys of AutoencoderKL (CompVis latent-diffusion)."""
    widths = [size["channels"] * multiplier for multiplier in size["multipliers"]]
    latent, last = size["latent"], len(widths) - 1
    yield from _affine("encoder.conv_in", widths[0], 3, 3, 3)
    width = widths[0]
    for level, target in enumerate(widths):
        for block in range(size["blocks"]):
            yield from _vae_block(f"encoder.down.{level}.block.{block}", width, target)
            width = target
        if level < last:
            yield from _affine(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    yield from _vae_middle("encoder", width, 2 * latent)
    yield from _affine("quant_conv", 2 * latent, 2 * latent, 1, 1)
    yield from _affine("post_quant_conv", latent, latent, 1, 1)
    yield from _affine("decoder.conv_in", width, latent, 3, 3)
    yield from _vae_middle("decoder", width, 3, end=widths[0])
    for level, target in reversed(list(enumerate(widths))):
        for block in range(size["blocks"] + 1):
            yield from _vae_block(f"decoder.up.{level}.block.{block}", width, target)
            width = target
        if level:
            yield from _affine(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)


def clip(size: Mapping[str, Any]) -> Keys:
    """Yield the keys of CLIPTextModel (transformers)."""
    width = size["width"]
    yield "embeddings.token_embedding.weight", (VOCABULARY, width)
    yield "embeddings.position_embedding.weight", (POSITIONS, width)
    for layer in range(size["layers"]):
        prefix = f"encoder.layers.{layer}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield from _affine(f"{prefix}.self_attn.{name}", width, width)
        yield from _affine(f"{prefix}.layer_norm1", width)
        yield from _affine(f"{prefix}.mlp.fc1", 4 * width, width)
        yield from _affine(f"{prefix}.mlp.fc2", width, 4 * width)
        yield from _affine(f"{prefix}.layer_norm2", width)
    yield from _affine("final_layer_norm", width)


def openclip(size: Mapping[str, Any]) -> Keys:
    """Yield the keys of the text half of open_clip's CLIP."""
    width = size["width"]
    yield "token_embedding.weight", (VOCABULARY, width)
    yield "positional_embedding", (POSITIONS, width)
    yield "text_projection", (width, width)
    yield "logit_scale", ()
    for layer in range(size["layers"]):
        prefix = f"transformer.resblocks.{layer}"
        yield from _affine(f"{prefix}.ln_1", width)
        yield f"{prefix}.attn.in_proj_weight", (3 * width, width)
        yield f"{prefix}.attn.in_proj_bias", (3 * width,)
        yield from _affine(f"{prefix}.attn.out_proj", width, width)
        yield from _affine(f"{prefix}.ln_2", width)
        yield from _affine(f"{prefix}.mlp.c_fc", 4 * width, width)
        yield from _affine(f"{prefix}.mlp.c_proj", width, 4 * width)
    yield from _affine("ln_final", width)


def _affine(prefix: str, *shape: int) -> Keys:
    yield f"{prefix}.weight", shape
    yield f"{prefix}.bias", shape[:1]


def _unet_block(prefix: str, widths: tuple[int, int], depth: int, *, size: Mapping[str, Any]) -> Keys:
    yield from _resnet(f"{prefix}.0", *widths, time=4 * size["channels"])
    if depth:
        yield from _transformer(f"{prefix}.1", widths[1], depth, size=size)


def _resnet(prefix: str, inputs: int, outputs: int, *, time: int) -> Keys:
    yield from _affine(f"{prefix}.in_layers.0", inputs)
    yield from _affine(f"{prefix}.in_layers.2", outputs, inputs, 3, 3)
    yield from _affine(f"{prefix}.emb_layers.1", outputs, time)
    yield from _affine(f"{prefix}.out_layers.0", outputs)
    yield from _affine(f"{prefix}.out_layers.3", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from _affine(f"{prefix}.skip_connection", outputs, inputs, 1, 1)


def _transformer(prefix: str, width: int, depth: int, *, size: Mapping[str, Any]) -> Keys:
    kernel: Sequence[int] = () if size.get("linear") else (1, 1)
    yield from _affine(f"{prefix}.norm", width)
    yield from _affine(f"{prefix}.proj_in", width, width, *kernel)
    for block in range(depth):
        inner = f"{prefix}.transformer_blocks.{block}"
        for attention, context in (("attn1", width), ("attn2", size["context"])):
            yield f"{inner}.{attention}.to_q.weight", (width, width)
            yield f"{inner}.{attention}.to_k.weight", (width, context)
            yield f"{inner}.{attention}.to_v.weight", (width, context)
            yield from _affine(f"{inner}.{attention}.to_out.0", width, width)
        yield from _affine(f"{inner}.ff.net.0.proj", 8 * width, width)
        yield from _affine(f"{inner}.ff.net.2", width, 4 * width)
        for norm in (1, 2, 3):
            yield from _affine(f"{inner}.norm{norm}", width)
    yield from _affine(f"{prefix}.proj_out", width, width, *kernel)


def _vae_block(prefix: str, inputs: int, outputs: int) -> Keys:
    yield from _affine(f"{prefix}.norm1", inputs)
    yield from _affine(f"{prefix}.conv1", outputs, inputs, 3, 3)
    yield from _affine(f"{prefix}.norm2", outputs)
    yield from _affine(f"{prefix}.conv2", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from _affine(f"{prefix}.nin_shortcut", outputs, inputs, 1, 1)


def _vae_middle(half: str, width: int, outputs: int, *, end: int = 0) -> Keys:
    for block in ("block_1", "block_2"):
        yield from _vae_block(f"{half}.mid.{block}", width, width)
    yield from _affine(f"{half}.mid.attn_1.norm", width)
    for name in ("q", "k", "v", "proj_out"):
        yield from _affine(f"{half}.mid.attn_1.{name}", width, width, 1, 1)
    yield from _affine(f"{half}.norm_out", end or width)
    yield from _affine(f"{half}.conv_out", outputs, end or width, 3, 3)
