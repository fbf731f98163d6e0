"""The settings that diffusers and transformers keep beside the weights of a checkpoint's components.

Source: the configurations of runwayml/stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1 and -xl-base-1.0, and the
signatures of UNet2DConditionModel, AutoencoderKL and CLIPTextConfig.
"""

from collections.abc import Mapping
from typing import Any

from enogu.core.networks.layouts import Layout
from enogu.core.networks.prediction import Prediction

VERSION = "0.30.0"  # of diffusers, whose form this is
WORDS = {"eps": "epsilon", "v": "v_prediction"}


def unet(chosen: Layout, prediction: Prediction) -> dict[str, Any]:
    """Return the settings of a UNet2DConditionModel."""
    size = chosen.sizes["unet"]
    widths = [size["channels"] * multiplier for multiplier in size["multipliers"]]
    kinds = ["CrossAttn" if depth else "" for depth in size["depths"]]
    heads = [width // size["head_channels"] for width in widths] if "head_channels" in size else size["heads"]
    labels = size.get("labels")
    extra = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": labels,
    }
    return {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": VERSION,
        "attention_head_dim": heads,  # the number of heads, despite its name
        "block_out_channels": widths,
        "cross_attention_dim": size["context"],
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "in_channels": size["inputs"],
        "out_channels": size["outputs"],
        "layers_per_block": size["blocks"],
        "norm_num_groups": size["groups"],
        "sample_size": chosen.spec(prediction.kind)[1] // 8,
        "transformer_layers_per_block": [depth or size["middle"] for depth in size["depths"]],
        "use_linear_projection": bool(size.get("linear")),
        **(extra if labels else {}),
    }


def vae(chosen: Layout, prediction: Prediction) -> dict[str, Any]:
    """Return the settings of an AutoencoderKL."""
    size = chosen.sizes["vae"]
    levels = len(size["multipliers"])
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": VERSION,
        "block_out_channels": [size["channels"] * multiplier for multiplier in size["multipliers"]],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": size["latent"],
        "layers_per_block": size["blocks"],
        "norm_num_groups": size["groups"],
        "sample_size": chosen.spec(prediction.kind)[1],
        "scaling_factor": chosen.latent_scale,
    }


def text(chosen: Layout, component: str, layers: int) -> dict[str, Any]:
    """Return the settings of a CLIPTextModel; the second encoder's also projects."""
    size, clip = chosen.sizes[component], chosen.kinds[component] == "clip"
    name = "CLIPTextModelWithProjection" if component == "te2" else "CLIPTextModel"
    return {
        "architectures": [name],
        "model_type": "clip_text_model",
        "bos_token_id": 0,
        "eos_token_id": 2,  # as in the released files: transformers then pools at the highest token, the true end
        "pad_token_id": 1,
        "hidden_act": "quick_gelu" if clip else "gelu",
        "hidden_size": size["width"],
        "intermediate_size": 4 * size["width"],
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "num_attention_heads": size["heads"],
        "num_hidden_layers": layers,
        "projection_dim": size["projection"],
        "vocab_size": 49408,
    }


def scheduler(prediction: Prediction) -> dict[str, Any]:
    """Return the settings of the sampler's noise table."""
    zero = prediction.zero_terminal_snr
    return {
        "_class_name": "EulerDiscreteScheduler",
        "_diffusers_version": VERSION,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": WORDS.get(prediction.kind, "epsilon"),
        "rescale_betas_zero_snr": zero,
        "steps_offset": 1,
        "timestep_spacing": "trailing" if zero else "leading",
    }


def tokenizer(chosen: Layout, component: str) -> dict[str, Any]:
    """Return the settings of a CLIPTokenizer; OpenCLIP's encoders were trained with padding of zeros."""
    marks = {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    marks = {"__type": "AddedToken", **marks}
    return {
        "add_prefix_space": False,
        "bos_token": {**marks, "content": "<|startoftext|>"},
        "do_lower_case": True,
        "eos_token": marks,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": "<|endoftext|>" if chosen.kinds[component] == "clip" else "!",
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": marks,
    }


def index(chosen: Layout, components: Mapping[str, str]) -> dict[str, Any]:
    """Return model_index.json for components named by their folders."""
    classes = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "te1": ["transformers", "CLIPTextModel"],
        "te2": ["transformers", "CLIPTextModelWithProjection"],
    }
    found: dict[str, Any] = {folder: classes[component] for component, folder in components.items()}
    found["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    for name in [folder.replace("text_encoder", "tokenizer") for folder in components.values() if "text" in folder]:
        found[name] = ["transformers", "CLIPTokenizer"]
    if "XL" in chosen.pipeline:
        found["force_zeros_for_empty_prompt"] = True
        missing = {"text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "feature_extractor", "image_encoder"}
    else:
        found["requires_safety_checker"] = False
        missing = {"safety_checker", "feature_extractor", "image_encoder"}
    return {
        "_class_name": chosen.pipeline,
        "_diffusers_version": VERSION,
        **found,
        **{name: [None, None] for name in sorted(missing - found.keys())},
    }
