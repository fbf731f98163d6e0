"""The commands of README and docs: each is one that enogu understands, and those that need checkpoints alone work."""

import importlib
import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from enogu.cli import VERBS, main
from enogu.recipe.kinds import EMBEDDED, PACKAGE

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^ {4}enogu (\S.*?)(?: {3,}.*)?$", re.MULTILINE)  # what follows three spaces is prose
RUN = ("merge", "extract", "inspect", "convert")


def commands() -> list[list[str]]:
    """Return every command that is written out in full."""
    texts = [path.read_text("utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    found = [one for text in texts for one in COMMAND.findall(text) if "..." not in one]
    return [shlex.split(one) for one in dict.fromkeys(found)]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_of_the_docs_is_understood(command):
    assert command[0] in VERBS
    importlib.import_module(f"enogu.cli.{command[0]}").parser().parse_args(command[1:])


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Go to a folder with the checkpoints that the docs speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = load_file(PACKAGE / EMBEDDED["model"]["mini-sd1"])
    for number, name in enumerate(("base", "tuned", "a", "b", "c", "model", "better", "other")):
        chance = torch.Generator().manual_seed(number)
        noise = {key: 0.01 * torch.randn(value.shape, generator=chance) for key, value in base.items()}
        save_file({key: (value + noise[key]).half() for key, value in base.items()}, f"{name}.safetensors")
    averages = {f"model_ema.{key[6:].replace('.', '')}": value for key, value in base.items() if key[:6] == "model."}
    for name in ("old", "full", "b"):
        torch.save({"state_dict": base | averages}, f"{name}.ckpt")
    Path("models").mkdir()
    for name in ("base", "tuned"):
        shutil.copy(f"{name}.safetensors", "models")
    given = ["base=base.safetensors", "tuned=tuned.safetensors"]
    assert main(["merge", "0.3*base + 0.7*tuned", *given, "-o", "theirs.safetensors"]) == 0


@pytest.mark.slow
def test_the_commands_about_checkpoints_work(models):
    waiting = [command for command in commands() if command[0] in RUN]
    while ready := [command for command in waiting if all(map(Path.exists, map(Path, inputs(command))))]:
        for command in ready:
            assert main(command) == 0, command
            waiting.remove(command)
    assert not waiting


def inputs(command: list[str]) -> list[str]:
    """Return the files that a command reads."""
    words = [word for before, word in pairwise(command) if before not in ("-o", "--picture")]
    return [file for word in words if (file := word.rpartition("=")[2]).endswith((".safetensors", ".ckpt", "folder"))]
