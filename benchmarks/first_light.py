"""`make bench`: the mini network beside diffusers, transformers and accelerate, printed and kept as Markdown.

Exit status 1 if a loss, a picture or a network differs by more than it may; speed alone never fails.
"""

import argparse
import datetime
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import diffusers
import transformers

from benchmarks import encoding, sampling, training
from benchmarks.peers import CLOSE, differences, random_start, shipped_start
from benchmarks.side_by_side import Pair, machine, versions

HERE = Path(__file__).parent
COMMAND = "make bench"
LATENTS = (8, 12)  # cells on a side, of 8 pixels
PRECISIONS = ("fp32", "bf16")
MOST_LEVELS = 2  # of 255, by which an fp32 picture may differ anywhere
MEAN_LEVELS = 4  # and a bf16 picture on average: autocast here, a cast pipeline there, round differently
RACE = ("", "ours", "theirs", "times faster (lowest to highest round)")


class Report:
    """Collects the Markdown, printing each line as it comes."""

    def __init__(self) -> None:
        """Begin empty."""
        self.lines: list[str] = []
        self.wrong: list[str] = []

    def say(self, line: str = "") -> None:
        """Add a line."""
        self.lines.append(line)
        print(line, flush=True)

    def row(self, *cells: str) -> None:
        """Add a row of a table."""
        self.say(f"| {' | '.join(cells)} |")

    def head(self, title: str, *cells: str) -> None:
        """Begin a section with a table."""
        for line in ("", f"## {title}", ""):
            self.say(line)
        self.row(*cells)
        self.row(*("---" if number == 0 else "---:" for number in range(len(cells))))

    def hold(self, what: str, value: float, most: float) -> str:
        """Return a value for a table, noting it if it is too large."""
        if value <= most:
            return f"{value:.2g}"
        self.wrong.append(f"{what}: {value:.3g} > {most:g}")
        return f"**{value:.2g}**"


def main() -> int:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of either side per measurement")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the Markdown file")
    asked = parser.parse_args()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    report = Report()
    _introduce(report)
    _agreement(report)
    _training(report, asked.rounds)
    _sampling(report, asked.rounds)
    _encoding(report)
    _startup(report, asked.rounds)
    path = asked.out / f"first_light_{_slug(machine())}_{datetime.date.today().isoformat()}.md"
    path.write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")
    for line in report.wrong:
        print(f"differs: {line}", file=sys.stderr)
    return 1 if report.wrong else 0


def _introduce(report: Report) -> None:
    revision = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(revision, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    report.say("# First light: the mini network beside diffusers")
    report.say()
    report.say(f"- command: `{COMMAND}`, commit {commit}, {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}")
    report.say(f"- machine: {machine()}")
    report.say(f"- versions: {versions()}")
    report.say("- both sides run in one process turn by turn; figures are medians, ratios are taken within a turn")


def _agreement(report: Report) -> None:
    report.head("The same networks", "largest difference, as a share of the largest value", *PRECISIONS[:1])
    for name, start in {"random weights": random_start(), "the shipped base": shipped_start()[0]}.items():
        for what, apart in differences(start).items():
            report.row(f"{name}: {what}", report.hold(f"{name}, {what}", apart, CLOSE))


def _training(report: Report, rounds: int) -> None:
    title = f"Training step, batch {training.BATCH}, UNet and text encoder, AdamW (images/s)"
    report.head(title, *RACE, "losses differ over 20 steps by at most", "peak MiB, ours / theirs")
    for side, precision in ((side, precision) for side in LATENTS for precision in PRECISIONS):
        gap, _ = training.loss_gap(side, precision)
        pair = training.race(side, precision, rounds=rounds, steps=2)
        memory = training.memory(side, precision)
        held = f"{memory['ours'][0]:.0f} / {memory['theirs'][0]:.0f}"
        name = f"latents 4x{side}x{side}, {precision}"
        shown = report.hold(name, gap, training.CLOSE) if precision == "fp32" else f"{gap:.2g}"
        report.row(name, *_rates(pair), shown, held)


def _sampling(report: Report, rounds: int) -> None:
    _, name = shipped_start()
    title = f"Sampling, batch {sampling.BATCH}, 20 Euler steps, guidance 7, {name} (pictures/s)"
    report.head(title, *RACE, "levels of 255 apart: mean", "most")
    for side, precision in ((8 * cells, precision) for cells in LATENTS for precision in PRECISIONS):
        race = sampling.race(side, precision, rounds=rounds)
        what = f"{side}x{side}, {precision}"
        mean, most = f"{race.mean_levels:.2g}", f"{race.most_levels:.3g}"
        if precision == "fp32":
            most = report.hold(what, race.most_levels, MOST_LEVELS)
        else:
            mean = report.hold(what, race.mean_levels, MEAN_LEVELS)
        report.row(what, *_rates(race.pair), mean, most)


def _encoding(report: Report, pictures: int = 300) -> None:
    report.head(f"Encoding {pictures} drawn pictures (128 to 256 px)", "", "pictures/s", "decode", "resize", "VAE")
    with tempfile.TemporaryDirectory() as folder:
        encoding.drawn(Path(folder), pictures=pictures)
        encoding.encoded(Path(folder), 32, "fp32")  # warm caches
        for side, precision in ((8 * cells, precision) for cells in LATENTS for precision in PRECISIONS):
            found = encoding.encoded(Path(folder), side, precision)
            shares = (f"{share:.0%}" for share in (found.decode, found.resize, found.vae))
            report.row(f"about {side}x{side}, {precision}", f"{found.pictures_per_second:.0f}", *shares)


def _startup(report: Report, rounds: int) -> None:
    seconds = sorted(_help_seconds(rounds))
    report.head("Starting", "", "median s", "lowest", "highest")
    report.row("`enogu --help`", *(f"{value:.3f}" for value in (statistics.median(seconds), seconds[0], seconds[-1])))


def _help_seconds(rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "enogu", "--help"], stdout=subprocess.DEVNULL, check=True)
        yield time.perf_counter() - started


def _rates(pair: Pair) -> tuple[str, str, str]:
    return (
        f"{1 / pair.ours:.1f}",
        f"{1 / pair.theirs:.1f}",
        f"{pair.ratio:.2f} ({pair.lowest:.2f} to {pair.highest:.2f})",
    )


def _slug(text: str) -> str:
    words = re.sub(r"\((R|TM)\)", "", text).split(";")[0]
    return re.sub(r"[^a-z0-9]+", "-", words.lower().replace("processor", "")).strip("-")


if __name__ == "__main__":
    sys.exit(main())
