"""The parser of every verb: a mistake is a line that names what was meant, not a page of usage."""

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from enogu.core.records.errors import Refused, unknown

OPTION = re.compile(r"--[a-z][a-z-]*")


def counting_from(least: int) -> Callable[[str], int]:
    """Return what reads a whole number of at least `least`."""

    def read(word: str) -> int:
        if not word.removeprefix("-").isdecimal() or int(word) < least:
            raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from {least} on")
        return int(word)

    return read


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that refuses where argparse prints its usage and leaves."""

    def __init__(self, **settings: Any) -> None:
        """Leave the lines of examples as they are written."""
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **settings})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and let files stand on both sides of an option."""
        return (super().parse_args if self._subparsers else super().parse_intermixed_args)(args, namespace)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does; of an unknown option say the nearest one."""
        found, rest = super().parse_known_args(args, namespace)
        for given in (given for given in rest if given.startswith("-")):
            raise unknown("option", given.partition("=")[0], OPTION.findall(self.format_usage()))
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Refuse."""
        raise Refused(f"{message}; see {self.prog} --help")
