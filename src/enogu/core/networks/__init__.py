"""Networks, their files, tokenizers and layouts."""
