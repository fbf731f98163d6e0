"""Write clip_tokens.json: texts as OpenAI's own tokenizer encodes them, for test_tokenizer.py.

Its code and vocabulary come in the wheel of clip-anytorch; torch is not needed:

    pip install --no-deps --target /tmp/clip clip-anytorch==2.6.0 ftfy regex wcwidth
    PYTHONPATH=/tmp/clip:tests/core python tests/core/make_clip_tokens.py
"""

import html
import importlib.util
import json
import sys
from pathlib import Path

import ftfy
from clip_texts import TEXTS, digest, many_texts

HERE = Path(__file__).parent


def main() -> None:
    """Encode every text that the reference leaves as it is (it also repairs encodings and HTML)."""
    place = importlib.util.find_spec("clip").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("simple_tokenizer", Path(place) / "simple_tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reference = module.SimpleTokenizer()
    if changed := [text for text in (*TEXTS, *many_texts()) if html.unescape(ftfy.fix_text(text)) != text]:
        sys.exit(f"the reference would repair these before it encodes them: {changed[:5]}")
    written = {
        "made_with": "clip-anytorch 2.6.0, clip.simple_tokenizer.SimpleTokenizer.encode",
        "texts": [[text, reference.encode(text)] for text in TEXTS],
        "digest_of_many": digest(map(reference.encode, many_texts())),
    }
    (HERE / "clip_tokens.json").write_text(json.dumps(written, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
