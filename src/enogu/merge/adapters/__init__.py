"""Adapters (LoRA and its kin): small files that hold differences of a checkpoint's weights."""
