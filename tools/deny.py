#!/usr/bin/env python3
"""What the Rust half may depend on and may do, checked against `cargo metadata` and our own sources.

Stands in for cargo-deny with four rules: every licence is one of LICENCES, every crate comes from crates.io
or from this repository, no crate is linked in two versions, and `unsafe` stays below UNSAFE_ALLOWED.

    tools/deny.py [METADATA.json]        (without a file, cargo is asked)
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LICENCES = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip
EXCEPTIONS = {"Apache-2.0 WITH LLVM-exception"}
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
UNSAFE_ALLOWED = "rust/dataplane/src/sys"
# Crates that may be linked in two versions, and why.
TWICE = {"bitflags": "vmm-sys-util, which virtio-queue needs, still takes version 1; types only, no state"}
PLATFORM = "x86_64-unknown-linux-gnu"
COMMAND = ("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", PLATFORM)

Package = dict[str, Any]
Metadata = dict[str, Any]

NOT_CODE = re.compile(
    r"""//[^\n]*                              # line comment
      | /\*(?:.|\n)*?\*/                      # block comment
      | r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes)   # raw string
      | "(?:\\.|[^"\\])*"                     # string
      | '(?:\\.|[^'\\])'                      # character
    """,
    re.VERBOSE,
)


class Licence:
    """A parser of SPDX licence expressions (SPDX 2.3, annex D) that answers whether ours allow one."""

    def __init__(self, text: str) -> None:
        # Cargo's old spelling "MIT/Apache-2.0" means OR.
        self.tokens = re.findall(r"[()]|[^\s()]+", text.replace("/", " OR "))

    def allowed(self) -> bool:
        """Whether some choice the expression leaves consists of allowed licences only."""
        answer = self._either()
        return answer and not self.tokens

    def _either(self) -> bool:
        answer = self._both()
        while self._skip("OR"):
            answer |= self._both()
        return answer

    def _both(self) -> bool:
        answer = self._one()
        while self._skip("AND"):
            answer &= self._one()
        return answer

    def _one(self) -> bool:
        if self._skip("("):
            answer = self._either()
            return self._skip(")") and answer
        name = self.tokens.pop(0) if self.tokens else ""
        if self._skip("WITH"):
            exception = self.tokens.pop(0) if self.tokens else ""
            return f"{name} WITH {exception}" in EXCEPTIONS
        return name in LICENCES

    def _skip(self, word: str) -> bool:
        if self.tokens[:1] != [word]:
            return False
        del self.tokens[0]
        return True


def crate(package: Package) -> str:
    """How a fault names the crate."""
    return f"{package['name']} {package['version']}"


def licence_faults(packages: Iterable[Package]) -> Iterator[str]:
    """Crates under a licence that is not on the list."""
    for package in packages:
        text = package["license"] or ""
        if not Licence(text).allowed():
            yield f"{crate(package)}: the licence {text or '(none given)'} is not on the list"


def source_faults(packages: Iterable[Package]) -> Iterator[str]:
    """Crates from anywhere but crates.io; those of this repository have no source."""
    for package in packages:
        if package["source"] not in (None, REGISTRY):
            yield f"{crate(package)}: comes from {package['source']}, not from crates.io"


def is_macro(package: Package) -> bool:
    """Whether the crate is a procedural macro."""
    return any("proc-macro" in target["kind"] for target in package["targets"])


def linked(metadata: Metadata) -> set[str]:
    """Package ids that our crates link: reached over normal dependencies, not over build or dev ones.

    What a procedural macro depends on runs in the compiler and is not linked either.
    """
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    macros = {package["id"] for package in metadata["packages"] if is_macro(package)}
    seen: set[str] = set()
    waiting: list[str] = list(metadata["workspace_members"])
    while waiting:
        if (name := waiting.pop()) in seen or name in macros:
            continue
        seen.add(name)
        waiting += [
            dep["pkg"]
            for dep in nodes[name]["deps"]
            if any(kind["kind"] is None for kind in dep["dep_kinds"])
        ]
    return seen


def duplicate_faults(metadata: Metadata) -> Iterator[str]:
    """Crates that are linked in more than one version."""
    used = linked(metadata)
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for package in metadata["packages"]:
        if package["id"] in used:
            versions[package["name"]].add(package["version"])
    for name, found in sorted(versions.items()):
        if len(found) > 1 and name not in TWICE:
            yield f"{name}: linked in versions {', '.join(sorted(found))}"


def unsafe_faults(root: Path) -> Iterator[str]:
    """Lines of our own Rust sources that say `unsafe` outside the modules that may."""
    for path in sorted((root / "rust").rglob("*.rs")):
        place = path.relative_to(root).as_posix()
        if place.startswith((f"{UNSAFE_ALLOWED}/", f"{UNSAFE_ALLOWED}.rs")):
            continue
        for number in unsafe_lines(path.read_text()):
            yield f"{place}:{number}: unsafe outside {UNSAFE_ALLOWED}"


def unsafe_lines(source: str) -> list[int]:
    """Numbers of the lines whose code, not comment or text, holds the keyword."""
    code = NOT_CODE.sub(lambda match: "\n" * match[0].count("\n"), source)
    return [number for number, line in enumerate(code.split("\n"), start=1) if re.search(r"\bunsafe\b", line)]


def faults(metadata: Metadata, root: Path) -> list[str]:
    """Everything that breaks a rule, one sentence each."""
    packages = metadata["packages"]
    checks = (
        licence_faults(packages),
        source_faults(packages),
        duplicate_faults(metadata),
        unsafe_faults(root),
    )
    return [fault for check in checks for fault in check]


def main(argv: list[str]) -> int:
    text = (
        Path(argv[0]).read_text()
        if argv
        else subprocess.run(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    )
    metadata = json.loads(text)
    found = faults(metadata, ROOT)
    for fault in found:
        print(f"deny: {fault}", file=sys.stderr)
    print(f"deny: {len(metadata['packages'])} crates, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
