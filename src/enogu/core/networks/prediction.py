"""What a checkpoint predicts, as its markers and its metadata tell."""

from dataclasses import dataclass

from enogu.core.networks.header import Header

# marker tensors without elements (ComfyUI, Forge, A1111): what they say
MARKERS = {"v_pred": "v", "edm_vpred.sigma_max": "v", "edm_mean": "edm"}
# metadata keys of Stability's Model Spec and of ComfyUI, and the words that stand for each type
KEYS = ("modelspec.prediction_type", "modelspec.predict_key")
WORDS = {"v": "v", "v_prediction": "v", "vpred": "v", "epsilon": "eps", "eps": "eps"}


@dataclass(frozen=True)
class Prediction:
    """The kind ("eps", "v", "edm", or "" if nothing tells), zero terminal SNR, and what told."""

    kind: str
    zero_terminal_snr: bool
    source: str


def prediction(header: Header) -> Prediction:
    """Return what a file says it predicts; markers come before metadata, as every UI reads them."""
    zero = "ztsnr" in header.tensors or header.metadata.get("ss_zero_terminal_snr") == "True"
    for marker, kind in MARKERS.items():
        if marker in header.tensors:
            return Prediction(kind, zero, f"marker {marker}")
    for key in KEYS:
        if kind := WORDS.get(header.metadata.get(key, ""), ""):
            return Prediction(kind, zero, key)
    if header.metadata.get("ss_v_parameterization") == "True":
        return Prediction("v", zero, "ss_v_parameterization")
    return Prediction("", zero, "")
