"""The networks have the published sizes and keys of Stable Diffusion 1, and survive odd latents."""

from pathlib import Path

import pytest
import torch
from torch import nn

from enogu.core.networks.checkpoint import load_model, save
from enogu.core.networks.clip import TextModel
from enogu.core.networks.family import family
from enogu.core.networks.layers import attend
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.unet import Downsample
from enogu.core.records.errors import Refused


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_sd1_has_the_published_sizes() -> None:
    with torch.device("meta"):
        model = StableDiffusion(family("sd1"))
    # CompVis' v1 model prints 859.52 M for the UNet; 83,653,863 and 123,060,480 are the checkpoint's own counts.
    assert parameters(model.unet) == 859_520_964
    assert parameters(model.vae) == 83_653_863
    assert parameters(model.text) == 123_060_480


def test_sd1_has_the_keys_of_v1_5() -> None:
    with torch.device("meta"):
        keys = set(StableDiffusion(family("sd1")).state_dict())
    assert len(keys) == 686 + 248 + 196
    assert {
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.output_blocks.2.1.conv.weight",
        "model.diffusion_model.output_blocks.8.2.conv.bias",
        "model.diffusion_model.middle_block.1.proj_in.weight",
        "first_stage_model.decoder.up.3.block.0.conv1.weight",
        "first_stage_model.encoder.down.2.downsample.conv.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc2.bias",
    } <= keys


def test_mini_has_the_topology_of_sd1() -> None:
    with torch.device("meta"):
        mini, full = (set(StableDiffusion(family(name)).unet.state_dict()) for name in ("mini-sd1", "sd1"))
    skips = {key for key in mini ^ full if "skip_connection" in key}
    assert mini ^ full == skips  # a block whose width does not change needs no projection


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 13), (12, 7)])
def test_odd_latents_keep_their_size(height: int, width: int) -> None:
    model = StableDiffusion(family("mini-sd1")).eval()
    with torch.no_grad():
        context = model.encode_text(torch.full((1, 2, 77), 49407))
        out = model.unet(torch.randn(1, 4, height, width), torch.tensor([500.0]), context)
    assert context.shape == (1, 154, 64)
    assert out.shape == (1, 4, height, width)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_with_gradients_equals_the_fused_kernel(causal: bool) -> None:
    q, k, v = (torch.randn(2, 7, 12, dtype=torch.float64) for _ in range(3))
    plain = attend(q.requires_grad_(), k, v, heads=3, causal=causal)
    with torch.no_grad():
        fused = attend(q, k, v, heads=3, causal=causal)
    torch.testing.assert_close(plain, fused)


def test_clip_skip_leaves_out_the_last_layers() -> None:
    text = TextModel(family("mini-sd1").text).eval()
    tokens = torch.randint(0, 49406, (1, 77))
    with torch.no_grad():
        skipped = text(tokens, 2)
        expected = text.final_layer_norm(text.encoder.layers[0](text.embeddings(tokens)))
    torch.testing.assert_close(skipped, expected)


@pytest.mark.parametrize("skip", [0, 3, 4])
def test_clip_skip_leaves_a_layer(skip: int) -> None:
    text = TextModel(family("mini-sd1").text)
    with pytest.raises(Refused, match=f"clip_skip = {skip}: this text encoder has 2 layers; give 1 to 2"):
        text(torch.zeros(1, 77, dtype=torch.int64), skip)


def test_text_does_not_look_ahead() -> None:
    text = TextModel(family("mini-sd1").text).eval()
    tokens = torch.randint(0, 49406, (1, 77))
    changed = tokens.clone()
    changed[0, 40:] = 7
    with torch.no_grad():
        torch.testing.assert_close(text(tokens)[:, :40], text(changed)[:, :40])


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean 'mini-sd1'"):
        family("mini-sd")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 3), (2, 2)])
def test_gradients_of_a_small_downsample_are_right_in_bf16(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    down = Downsample(64)
    x = torch.randn(16, 64, *size).contiguous(memory_format=torch.channels_last)

    def gradient(given: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=given.dtype == torch.bfloat16):
            (found,) = torch.autograd.grad(down(given).float().square().sum(), [down.op.weight])
        return found

    exact = gradient(x)
    for _ in range(5):  # what the processor's own kernel reads past its input differs from call to call
        assert float((gradient(x.bfloat16()) - exact).norm() / exact.norm()) < 0.01


@pytest.mark.parametrize(("said", "told"), [({}, "eps"), ({"modelspec.prediction_type": "v"}, "v")])
def test_a_model_predicts_what_its_file_says(tmp_path: Path, said: dict[str, str], told: str) -> None:
    save(tmp_path / "model.safetensors", StableDiffusion(family("mini-sd1")).state_dict(), said)
    assert load_model(tmp_path / "model.safetensors").family.prediction == told


def test_the_edm_way_is_not_drawn_as_something_else(tmp_path: Path) -> None:
    tensors = StableDiffusion(family("mini-sd1")).state_dict() | {"edm_mean": torch.zeros(1)}
    save(tmp_path / "model.safetensors", tensors, {})
    with pytest.raises(Refused, match=r"EDM way \(marker edm_mean\)"):
        load_model(tmp_path / "model.safetensors")
