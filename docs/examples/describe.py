"""An NL captioner to begin with: it makes a sentence of the tags. A real one opens the picture at `path`."""

import json
import sys

for line in sys.stdin:
    asked = json.loads(line)
    tags = [tag.replace("_", " ") for tag in asked["tags"]]
    listed = ", ".join(tags[:-1]) + " and " + tags[-1] if len(tags) > 1 else "".join(tags)
    text = f"This is a picture of {listed}." if tags else ""
    print(json.dumps({"post": asked["post"], "text": text}), flush=True)  # flush: what is answered is kept
