"""What a checkpoint predicts, as its markers, its metadata and at last its weights tell."""

from collections.abc import Mapping
from dataclasses import dataclass

from enogu.core.networks.header import Header
from enogu.core.networks.stream import Reader

# marker tensors without elements (ComfyUI, Forge, A1111): what they say
MARKERS = {"v_pred": "v", "edm_vpred.sigma_max": "v", "edm_mean": "edm"}
# metadata keys of Stability's Model Spec and of ComfyUI, and the words that stand for each type
KEYS = ("modelspec.prediction_type", "modelspec.predict_key")
SPEC_VERSION = "modelspec.sai_model_spec"
SPEC: Mapping[str, str] = {  # what it demands of every file
    SPEC_VERSION: "1.0.1",
    "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
}
SPEC_KEY, ZERO_SNR_KEY = KEYS[0], "ss_zero_terminal_snr"
SPEC_WORDS = {"eps": "epsilon", "v": "v", "edm": "edm"}
WORDS = {"v": "v", "v_prediction": "v", "vpred": "v", "epsilon": "eps", "eps": "eps", "edm": "edm"}
# SD2 for 768 pixels: in the released files this bias spreads wider where the model predicts v (ComfyUI)
TELLTALE = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
SPREAD = 0.09


@dataclass(frozen=True)
class Prediction:
    """The kind ("eps", "v", "edm", or "" if nothing tells), zero terminal SNR, and what told."""

    kind: str
    zero_terminal_snr: bool
    source: str


def prediction(header: Header) -> Prediction:
    """Return what a file says it predicts; markers come before metadata, as every UI reads them."""
    zero = "ztsnr" in header.tensors or header.metadata.get(ZERO_SNR_KEY) == "True"
    for marker, kind in MARKERS.items():
        if marker in header.tensors:
            return Prediction(kind, zero, f"marker {marker}")
    for key in KEYS:
        if kind := WORDS.get(header.metadata.get(key, ""), ""):
            return Prediction(kind, zero, key)
    if header.metadata.get("ss_v_parameterization") == "True":
        return Prediction("v", zero, "ss_v_parameterization")
    return Prediction("", zero, "")


def measured(reader: Reader, family: str) -> Prediction:
    """Return what a file says it predicts; of one that says nothing, what UIs take its family for."""
    told = prediction(reader.header)
    if told.kind or not family:
        return told
    if family == "sd2" and TELLTALE in reader.header.tensors:
        spread = float(reader.tensor(TELLTALE).float().std(correction=0))
        kind = "v" if spread > SPREAD else "eps"
        return Prediction(kind, told.zero_terminal_snr, f"a guess, from one bias that spreads by {spread:.3f}")
    return Prediction("eps", told.zero_terminal_snr, "no marker; what UIs assume")


def markers(told: Prediction) -> Mapping[str, tuple[int, ...]]:
    """Return the marker tensors, without elements, that tell UIs what an SDXL checkpoint predicts."""
    return {name: (0,) for name, wanted in (("v_pred", told.kind == "v"), ("ztsnr", told.zero_terminal_snr)) if wanted}
