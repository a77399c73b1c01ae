"""tools/deny.py lets through what the rules allow and names what they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.deny import (
    REGISTRY,
    Licence,
    duplicate_faults,
    faults,
    licence_faults,
    source_faults,
    unsafe_lines,
)


def package(name: str, version: str = "1.0.0", kind: str = "lib", **members: Any) -> dict[str, Any]:
    return {
        "id": f"{name} {version}",
        "name": name,
        "version": version,
        "license": "MIT",
        "source": REGISTRY,
        "targets": [{"kind": [kind]}],
    } | members


def metadata(*packages: dict[str, Any], deps: dict[str, list[tuple[str, str | None]]]) -> dict[str, Any]:
    def links(name: str) -> list[dict[str, Any]]:
        return [{"pkg": target, "dep_kinds": [{"kind": kind}]} for target, kind in deps.get(name, [])]

    nodes = [{"id": each["id"], "deps": links(each["id"])} for each in packages]
    return {"packages": list(packages), "resolve": {"nodes": nodes}, "workspace_members": [packages[0]["id"]]}


@pytest.mark.parametrize(
    "text",
    [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ],
)
def test_licence_with_an_allowed_choice_is_allowed(text: str) -> None:
    assert Licence(text).allowed()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "MIT WITH Classpath-exception-2.0",
        "(MIT",
        "MIT Apache-2.0",
    ],
)
def test_licence_without_an_allowed_choice_is_refused(text: str) -> None:
    assert not Licence(text).allowed()


def test_licence_fault_names_the_crate() -> None:
    assert list(licence_faults([package("bad", license="GPL-3.0-only")])) == [
        "bad 1.0.0: the licence GPL-3.0-only is not on the list"
    ]
    assert list(licence_faults([package("none", license=None)])) != []


def test_only_crates_io_and_this_repository_are_sources() -> None:
    assert list(source_faults([package("ours", source=None), package("theirs")])) == []
    assert list(source_faults([package("git", source="git+https://example.org/x")])) != []


def test_two_linked_versions_are_a_fault() -> None:
    data = metadata(
        package("ours"), package("a", "1.0.0"), package("a", "2.0.0"),
        deps={"ours 1.0.0": [("a 1.0.0", None)], "a 1.0.0": [("a 2.0.0", None)]},
    )  # fmt: skip
    assert list(duplicate_faults(data)) == ["a: linked in versions 1.0.0, 2.0.0"]


@pytest.mark.parametrize("kind", ["dev", "build"])
def test_a_second_version_that_is_not_linked_is_no_fault(kind: str) -> None:
    data = metadata(
        package("ours"), package("a", "1.0.0"), package("a", "2.0.0"),
        deps={"ours 1.0.0": [("a 1.0.0", None), ("a 2.0.0", kind)]},
    )  # fmt: skip
    assert list(duplicate_faults(data)) == []


def test_what_a_procedural_macro_needs_is_not_linked() -> None:
    data = metadata(
        package("ours"), package("a", "1.0.0"), package("m", kind="proc-macro"), package("a", "2.0.0"),
        deps={"ours 1.0.0": [("a 1.0.0", None), ("m 1.0.0", None)], "m 1.0.0": [("a 2.0.0", None)]},
    )  # fmt: skip
    assert list(duplicate_faults(data)) == []


def test_unsafe_is_found_in_code_only() -> None:
    source = """#![forbid(unsafe_code)]
// unsafe in a comment
/* and
   unsafe here */
let a = "unsafe \\" unsafe"; let c = '"';
let b = r#"unsafe "quoted" "#;
unsafe { work() }
"""
    assert unsafe_lines(source) == [7]


def test_unsafe_is_allowed_below_sys_only(tmp_path: Path) -> None:
    for place in (
        "dataplane/src/sys.rs",
        "dataplane/src/sys/tap.rs",
        "dataplane/src/system.rs",
        "engine/src/lib.rs",
    ):
        path = tmp_path / "rust" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("unsafe {}\n")
    found = faults(metadata(package("ours", source=None), deps={}), tmp_path)
    assert [fault.split(":")[0] for fault in found] == [
        "rust/dataplane/src/system.rs",
        "rust/engine/src/lib.rs",
    ]
