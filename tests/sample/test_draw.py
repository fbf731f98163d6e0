"""Drawing: alone or in a batch the same, and the whole chain against itself written out in one loop."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from enogu.core.diffusion.schedule import NoiseTable, alphas_cumprod
from enogu.core.networks.chunks import chunk_tokens
from enogu.core.networks.model import StableDiffusion
from enogu.core.networks.tokenizer import tokenize
from enogu.core.records.errors import Refused
from enogu.sample.draw import draw
from enogu.sample.guided import Conditioning, Context, Guided
from enogu.sample.settings import Request, Settings

SMALL = Settings(width=32, height=24, steps=4, cfg=3.0, emphasis="No norm")


def ask(prompt: str, seed: int = 0, negative: str = "bad", settings: Settings = SMALL) -> Request:
    return Request(prompt=prompt, negative=negative, seed=seed, settings=settings)


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_euler_is_the_loop_that_anyone_would_write(pico: StableDiffusion) -> None:
    def encoded(text: str) -> torch.Tensor:
        return pico.encode_text(torch.from_numpy(chunk_tokens(tokenize(text)))[None])

    table = NoiseTable(alphas_cumprod("scaled_linear"))
    x = torch.randn((4, 3, 4), generator=torch.Generator().manual_seed(9))[None] * table.sigma_max
    levels = [table.t_to_sigma(torch.tensor(t)).item() for t in (999.0, 666.0, 333.0, 0.0)] + [0.0]
    with torch.no_grad():
        for sigma, below, t in zip(levels, levels[1:], (999.0, 666.0, 333.0, 0.0), strict=False):
            said = [
                pico.unet(x / (sigma**2 + 1) ** 0.5, torch.tensor([t]), encoded(text)) for text in ("bad", "1girl, hat")
            ]
            x = x + (below - sigma) * (said[0] + 3.0 * (said[1] - said[0]))
        rgb = pico.vae.decode(x / pico.family.latent_scale)
    expected = ((rgb / 2 + 0.5).clamp(0, 1) * 255).byte()[0].permute(1, 2, 0).numpy()
    (drawn,) = draw(pico, [ask("1girl, hat", 9, settings=replace(SMALL, sampler="Euler"))])
    assert expected.std() > 5
    assert distance(drawn, expected) <= 1


@pytest.mark.parametrize("sampler", ["Euler a", "Euler", "Heun", "DPM++ 2M"])
def test_a_picture_is_the_same_alone_and_in_a_batch(pico: StableDiffusion, sampler: str) -> None:
    settings = replace(SMALL, sampler=sampler)
    prompts = ["1girl", "a [cat|dog], (hat:1.3)", "x AND y :0.5", "long " * 90, "[a:b:0.5]", "1girl"]
    requests = [ask(prompt, seed, settings=settings) for seed, prompt in enumerate(prompts)]
    together = draw(pico, requests)
    for index, request in enumerate(requests):
        assert distance(together[index], draw(pico, [request])[0]) <= 1
    assert distance(together[0], together[5]) > 10


def test_everything_asked_for_changes_the_picture(pico: StableDiffusion) -> None:
    base = ask("1girl, hat")
    others = [
        ask("1girl, cap"),
        ask("1girl, hat", negative="worse"),
        ask("1girl, hat", seed=1),
        ask("1girl, (hat:1.5)"),
        ask("1girl, [cap:hat:2]"),
        ask("1girl, hat AND cap"),
        *(
            ask("1girl, hat", settings=replace(SMALL, **change))
            for change in (
                {"sampler": "Euler"},
                {"schedule": "Karras"},
                {"steps": 5},
                {"cfg": 5.0},
                {"clip_skip": 2},
                {"rng": "NV"},
            )
        ),
    ]
    first = draw(pico, [base])[0]
    for other in others:
        assert distance(first, draw(pico, [other])[0]) > 2, other


def test_without_guidance_the_negative_prompt_is_not_asked(pico: StableDiffusion) -> None:
    settings = replace(SMALL, cfg=1.0)
    one, other = (draw(pico, [ask("hat", negative=text, settings=settings)]) for text in ("bad", "worse"))
    assert np.array_equal(one, other)


def test_half_precision_draws_nearly_the_same(pico: StableDiffusion) -> None:
    full, half = (draw(pico, [ask("hat", settings=replace(SMALL, precision=p))])[0] for p in ("fp32", "bf16"))
    assert np.abs(full.astype(int) - half.astype(int)).mean() < 8


def test_a_wide_picture_is_wide(pico: StableDiffusion) -> None:
    assert draw(pico, [ask("hat")]).shape == (1, 24, 32, 3)


def test_conditional_and_unconditional_share_a_call_where_their_lengths_allow() -> None:
    lengths = []

    def denoiser(x: torch.Tensor, sigma: float, context: torch.Tensor) -> torch.Tensor:
        lengths.append(tuple(context.shape[:2]))
        return context[:, :1, :1, None].expand_as(x)

    def context(value: float, length: int = 77) -> Context:
        return Context(1.0, (10,), torch.full((1, length, 1), value))

    rows = [Conditioning((context(2.0),), context(1.0)), Conditioning((context(5.0, 154),), context(1.0))]
    guided = Guided(denoiser, rows, 4.0)
    x0 = guided(torch.zeros(2, 4, 2, 2), 1.0)
    assert sorted(lengths) == [(1, 154), (3, 77)]
    assert x0[:, 0, 0, 0].tolist() == [1 + 4 * (2 - 1), 1 + 4 * (5 - 1)]


def test_editing_switches_one_call_late_as_a1111_does() -> None:
    """[a:b:0.5] in ten steps of Euler draws six calls of a (A1111 counts calls from 0, ends from 1)."""
    context = Context(1.0, (5, 10), torch.tensor([0.0, 1.0])[:, None, None])
    assert [int(context.at(call)) for call in range(10)] == [0] * 6 + [1] * 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sampler": "Euler A"}, "did you mean 'Euler a'"),
        ({"schedule": "karras"}, "did you mean 'Karras'"),
        ({"width": 100}, "width = 100"),
        ({"height": 0}, "height = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"clip_skip": 0}, "clip_skip = 0"),
        ({"cfg": float("nan")}, "cfg = nan"),
        ({"emphasis": "none"}, "emphasis 'none'"),
        ({"rng": "GPU"}, "rng 'GPU'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(Refused, match=says):
        replace(SMALL, **change)


def test_seeds_beyond_the_generator_are_refused() -> None:
    with pytest.raises(Refused, match="seed = -1"):
        ask("hat", seed=-1)
    with pytest.raises(Refused, match="seed = 4294967296"):
        ask("hat", seed=1 << 32)
