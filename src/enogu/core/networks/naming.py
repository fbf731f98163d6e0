"""Foreign spellings of LDM keys, made canonical where a file is opened."""

import re
from collections.abc import Mapping

# NovelAI's leak and its descendants lack `text_model.`; VAE files stand without their prefix.
_SPELLINGS = (
    (re.compile(r"cond_stage_model\.transformer\.(?=embeddings\.|encoder\.|final_layer_norm\.)"), "text_model."),
    (
        re.compile(r"conditioner\.embedders\.0\.transformer\.(?=embeddings\.|encoder\.|final_layer_norm\.)"),
        "text_model.",
    ),
)
_BARE_VAE = re.compile(r"(encoder|decoder)\.(conv_in|conv_out|down|up|mid|norm_out)\.|(post_)?quant_conv\.")


def canonical(key: str) -> str:
    """Return the spelling that every UI expects."""
    for pattern, insert in _SPELLINGS:
        if match := pattern.match(key):
            return key[: match.end()] + insert + key[match.end() :]
    return f"first_stage_model.{key}" if _BARE_VAE.match(key) else key


def renamed(keys: Mapping[str, object]) -> dict[str, str]:
    """Return canonical key -> stored key; where both spellings are there, the canonical one's tensor is meant."""
    names = {canonical(key): key for key in keys}
    return {name: name if name in keys else stored for name, stored in names.items()}
