"""What an extracted adapter's header says, in the words that kohya's scripts, A1111 and ComfyUI read."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from enogu import __version__
from enogu.core.networks.header import Header
from enogu.core.networks.layouts import Layout
from enogu.core.networks.prediction import SPEC, SPEC_WORDS, prediction
from enogu.core.networks.stream import HASH_PLACEHOLDER
from enogu.merge.adapters.config import ExtractConfig
from enogu.merge.lineage import listed, parent

RECIPE = "enogu.extract"
VERSIONS = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}  # kohya's ss_base_model_version


def describe(
    config: ExtractConfig,
    headers: Mapping[str, Header],
    *,
    layout: Layout | None,
    title: str,
    hashes: Mapping[str, str],
) -> dict[str, str]:
    """Return the metadata."""
    parents = {name: {"sha256": hashes[name], **parent(name, header)} for name, header in headers.items()}
    return {
        "format": "pt",
        **_kohya(config, layout),
        **_spec(headers, layout),
        "modelspec.title": title,
        "modelspec.merged_from": listed(each["title"] for each in parents.values()),
        "ss_output_name": title,
        RECIPE: json.dumps({"enogu": __version__, **asdict(config), "models": parents}, sort_keys=True),
    }


def _kohya(config: ExtractConfig, layout: Layout | None) -> dict[str, str]:
    family = layout.name if layout else ""
    module = "lycoris.kohya" if config.rest else "networks.lora"
    convolutions = {"conv_dim": str(config.conv_rank), "conv_alpha": str(float(config.conv_rank))}
    args: dict[str, Any] = {**(convolutions if config.conv_rank else {}), **({"algo": "lora"} if config.rest else {})}
    version = next((text for name, text in VERSIONS.items() if family.split("-")[0] == name), "")
    return {
        "ss_v2": str(family.startswith("sd2")),
        **({"ss_base_model_version": version} if version else {}),
        "ss_network_module": module,
        "ss_network_dim": str(config.rank) if config.energy == 1.0 and not config.threshold else "Dynamic",
        "ss_network_alpha": str(float(config.rank)) if config.energy == 1.0 and not config.threshold else "Dynamic",
        "ss_network_args": json.dumps(args, sort_keys=True),
    }


def _spec(headers: Mapping[str, Header], layout: Layout | None) -> dict[str, str]:
    kind = next((told for header in headers.values() if (told := prediction(header).kind)), "")
    return {
        **SPEC,
        "modelspec.hash_sha256": HASH_PLACEHOLDER,
        **({"modelspec.architecture": f"{layout.architecture}/lora"} if layout else {}),
        **({"modelspec.resolution": f"{layout.resolution}x{layout.resolution}"} if layout else {}),
        **({"modelspec.prediction_type": SPEC_WORDS[kind]} if kind else {}),
    }
