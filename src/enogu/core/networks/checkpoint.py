"""Checkpoints: one safetensors file in the single-file layout that every UI reads, its recipe in the header."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks.family import Family, families
from enogu.core.networks.header import Header, Spec, read_header
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.prediction import prediction
from enogu.core.networks.source import open_source
from enogu.core.networks.stream import as_bytes, open_writer
from enogu.core.records.errors import Refused

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer.text_model."
COMPONENTS = {"unet": UNET, "vae": VAE, "te": TEXT}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: its family, its tensors by key, and the header's metadata."""

    family: Family
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]


def find_family(path: Path, header: Header) -> Family:
    """Return the family whose marks (first convolution, token embedding) the header's shapes show."""
    shapes = {key: info.shape for key, info in header.tensors.items()}
    conv, tokens = UNET + "input_blocks.0.0.weight", TEXT + "embeddings.token_embedding.weight"
    for family in families().values():
        unet, text = family.unet, family.text
        if shapes.get(conv) == (unet.channels, family.vae.latent, 3, 3) and shapes.get(tokens) == (
            text.vocabulary,
            text.width,
        ):
            return family
    raise Refused(
        f"{path} is no checkpoint of a known family ({', '.join(families())}): "
        f"{conv} is {shapes.get(conv, 'absent')}, {tokens} is {shapes.get(tokens, 'absent')}"
    )


def load(path: Path) -> Checkpoint:
    """Read a whole checkpoint of any form into memory."""
    with open_source(path) as reader:
        family = _as_told(find_family(path, reader.header), path, reader.header)
        tensors = {name: reader.tensor(name) for name in reader.header.tensors}
        return Checkpoint(family, tensors, dict(reader.header.metadata))


def _as_told(family: Family, path: Path, header: Header) -> Family:
    """Return the family with what the file itself says that it predicts."""
    told = prediction(header)
    if told.kind == "edm":
        raise Refused(
            f"{path} predicts in the EDM way ({told.source}), which is neither drawn nor trained; eps and v are"
        )
    return replace(family, prediction="v" if told.kind == "v" else "eps") if told.kind else family


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return a checkpoint's metadata without reading a tensor."""
    return read_header(path).metadata


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a checkpoint atomically in the given order of keys."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in ready.items()}
    with open_writer(path, specs, metadata) as writer:
        for name in writer.infos:
            writer.write(name, as_bytes(ready[name]))


def load_model(path: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> StableDiffusion:
    """Build a checkpoint's networks, ready for inference; missing or misshapen keys are refused by name."""
    checkpoint = load(path)
    return build(checkpoint, str(path)).to(device=device, dtype=dtype).eval().requires_grad_(False)


def build(checkpoint: Checkpoint, name: str) -> StableDiffusion:
    """Return the networks of a checkpoint in fp32; tensors that no network owns are left out."""
    model = StableDiffusion(checkpoint.family)
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in checkpoint.tensors]
    bent = [
        key
        for key, tensor in wanted.items()
        if key in checkpoint.tensors and checkpoint.tensors[key].shape != tensor.shape
    ]
    if missing or bent:
        raise Refused(f"{name}: {len(missing)} missing and {len(bent)} misshapen keys, such as {(missing + bent)[0]}")
    model.load_state_dict({key: checkpoint.tensors[key].float() for key in wanted})
    return model
