"""What the audit holds of a picture is bounded by its pixels, also of animations and of what is refused."""

import os
import subprocess
import sys

import pytest
from PIL import Image

SIDE = 3000
PROBE = """
import resource, sys
from pathlib import Path
from enogu.posts.audit import Limits, look
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
path, most = Path(sys.argv[1]), int(sys.argv[2])
before = peak()
print(look(path.parent, path.name, Limits(16, most, True)).reason or "fit", peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "webp", "gif"])
def test_the_frames_behind_the_first_are_not_held(tmp_path, ending):
    frames = [Image.new("RGBA", (SIDE, SIDE), (0, 9 * number, 200, 40 * number)) for number in range(6)]
    path = tmp_path / f"moving.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for most, expected, bytes_per_pixel in ((SIDE * SIDE, "fit", 28), (SIDE * SIDE - 1, "too large", 2)):
        command = [sys.executable, "-c", PROBE, str(path), str(most)]
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        reason, held = said.rsplit(maxsplit=1)
        assert reason == expected
        assert int(held) < bytes_per_pixel * SIDE * SIDE
