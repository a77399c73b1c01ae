"""A file's text to one `Config`, or to all its mistakes at once, each with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wirebay.errors import OptionError
from wirebay.wiring import Description

__all__ = ["Config", "ConfigError", "LogLevel", "Settings", "parse_config", "read_config"]

LogLevel = Literal["error", "warning", "info", "debug"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a file says beside its tables, as the options of the same names (`wirebay serve --help`)."""

    control: str | None = None
    api_socket: str | None = None
    pid_file: str | None = None
    log_level: LogLevel | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a file says. `places` are the lines of its top words (the id is empty) and of its tables by id."""

    settings: Settings = field(default_factory=Settings)
    whole: Description = field(default_factory=Description)
    places: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False)


class ConfigError(OptionError):
    """A file is wrong. `mistakes` are sentences with their places, `FILE:LINE: SENTENCE`."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        head = [] if len(mistakes) == 1 else [f"{len(mistakes)} mistakes in {name}"]
        super().__init__("\n".join([*head, *mistakes]))
        self.mistakes = mistakes


def read_config(path: str) -> Config:
    """Read a file. Raises ConfigError with all its mistakes, OptionError when it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise OptionError(f"--config {path}: the file is not UTF-8") from None
    except OSError as error:
        raise OptionError(f"--config {path}: {error.strerror}") from None
    return parse_config(text, path)


def parse_config(text: str, name: str) -> Config:
    """The same for a text; `name` stands before its mistakes. Raises ConfigError."""
    from wirebay.config.places import places
    from wirebay.config.reading import Reading

    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, [syntax(name, text, str(error))]) from None
    return Reading(tree, places(text), name).config()


def syntax(name: str, text: str, reason: str) -> str:
    """tomllib's sentence with its place in front. What ends too early ends on the last line."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", reason, re.DOTALL)
    if match is None:
        return f"{name}:1: {reason}"
    where = f"{match[2]}:{match[3]}" if match[2] else str(max(1, len(text.splitlines())))
    return f"{name}:{where}: {match[1]}"
