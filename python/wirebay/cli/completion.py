"""Shell completion, made of the argument parsers: what they take is what a shell offers."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

__all__ = ["SHELLS", "Words", "words_of"]

PROGRAM = "wirebay"


@dataclass(frozen=True, slots=True)
class Words:
    """What may follow a command: words with their purpose, and after which of them a value comes.

    Of a value the choices are known, or it is whatever files there are.
    """

    purposes: Mapping[str, str]
    values: Mapping[str, tuple[str, ...]]


def words_of(parser: argparse.ArgumentParser, further: Iterable[tuple[str, str]] = ()) -> Words:
    """The words that a parser takes; `further` are words of its own, such as commands."""
    purposes, values = dict(further), {}
    for action in parser._actions:  # noqa: SLF001 - argparse tells in no other way
        choices = tuple(map(str, action.choices or ()))
        if not action.option_strings:
            purposes.update(dict.fromkeys(choices, ""))
        for flag in action.option_strings:
            purposes[flag] = action.help or ""
            if action.nargs != 0:
                values[flag] = choices
    return Words(purposes, values)


def bash(commands: Mapping[str, Words]) -> str:
    """The script for bash; the command so far is the words in front that are no options."""
    cases = "\n".join(bash_case(name, words) for name, words in commands.items())
    return f"""\
# Completion of {PROGRAM} for bash: source <({PROGRAM} ctl completion bash)
_{PROGRAM}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command= word words= after=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$command $word" in
{bash_paths(commands)}
        esac
    done
    case "$command" in
{cases}
    esac
    [[ $after == files ]] && words=
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o bashdefault -o default -F _{PROGRAM} {PROGRAM}
"""


def bash_paths(commands: Mapping[str, Words]) -> str:
    """How the words in front become a command: `ctl`, then `ctl flows`."""
    pairs = [(name.rpartition(" ")[0], name.rpartition(" ")[2], name) for name in commands if name]
    return "\n".join(
        f"            {shlex.quote(f'{before} {word}')}) command={shlex.quote(name)} ;;"
        for before, word, name in pairs
    )


def bash_case(name: str, words: Words) -> str:
    """What is offered behind one command."""
    values = "\n".join(
        f"                {flag}) {f'words={shlex.quote(joined(choices))}' if choices else 'after=files'} ;;"
        for flag, choices in words.values.items()
    )
    inner = f'\n            case "$prev" in\n{values}\n            esac' if values else ""
    return f"        {shlex.quote(name)}) words={shlex.quote(joined(words.purposes))}{inner} ;;"


def joined(words: Iterable[str]) -> str:
    """Words in a row."""
    return " ".join(words)


def zsh(commands: Mapping[str, Words]) -> str:
    """The script for zsh; it goes into a file _wirebay on the fpath, or is sourced."""
    cases = "\n".join(zsh_case(name, words) for name, words in commands.items())
    return f"""\
#compdef {PROGRAM}
# Completion of {PROGRAM} for zsh: source <({PROGRAM} ctl completion zsh)
_{PROGRAM}() {{
    local command= word
    local -a offered
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "$command $word" in
{bash_paths(commands)}
        esac
    done
    case "$command" in
{cases}
    esac
    _describe '{PROGRAM}' offered || _files
}}
compdef _{PROGRAM} {PROGRAM}
"""


def zsh_case(name: str, words: Words) -> str:
    """What is offered behind one command; a colon parts a word from its purpose."""
    offered = joined(shlex.quote(f"{word}:{plain(purpose)}") for word, purpose in words.purposes.items())
    values = "\n".join(
        f"                {flag}) {f'offered=({joined(choices)})' if choices else '_files; return'} ;;"
        for flag, choices in words.values.items()
    )
    inner = f'\n            case "${{words[CURRENT-1]}}" in\n{values}\n            esac' if values else ""
    return f"        {shlex.quote(name)}) offered=({offered}){inner} ;;"


def fish(commands: Mapping[str, Words]) -> str:
    """The script for fish."""
    lines = [f"# Completion of {PROGRAM} for fish: {PROGRAM} ctl completion fish | source"]
    for name, words in commands.items():
        inner = [other.rpartition(" ")[2] for other in commands if other and other.rpartition(" ")[0] == name]
        lines += [fish_line(name, inner, word, words) for word in words.purposes]
    return "\n".join(lines) + "\n"


def fish_line(name: str, inner: list[str], word: str, words: Words) -> str:
    """One word behind one command, as long as none of the commands in it has been given."""
    tests = [f"__fish_seen_subcommand_from {part}" for part in name.split()]
    if inner:
        tests.append(f"not __fish_seen_subcommand_from {joined(inner)}")
    condition = f" -n {shlex.quote('; and '.join(tests))}" if tests else ""
    purpose = plain(words.purposes[word])
    told = f" -d {shlex.quote(purpose)}" if purpose else ""
    return f"complete -c {PROGRAM}{condition} {fish_word(word, words)}{told}"


def fish_word(word: str, words: Words) -> str:
    """A word as fish takes it: long options, old ones with one dash, letters, others."""
    kinds = [("--", "-l"), ("-", "-s" if len(word) == 2 else "-o")]
    spelled = next(
        (f"{flag} {word.removeprefix(dash)}" for dash, flag in kinds if word.startswith(dash)), None
    )
    if spelled is None:
        return f"-f -a {word}"
    if word not in words.values:
        return spelled
    choices = words.values[word]
    return f"{spelled} -x -a {shlex.quote(joined(choices))}" if choices else f"{spelled} -r"


def plain(purpose: str) -> str:
    """A purpose in one line, without what shells or their completion take for more."""
    return "".join(" " if sign in "\"'`$\\:\n" else sign for sign in purpose)


SHELLS: Mapping[str, Callable[[Mapping[str, Words]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
