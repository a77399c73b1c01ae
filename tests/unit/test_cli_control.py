"""--control and -qmp: which socket a command listens on, and what is refused before anything starts."""

from __future__ import annotations

import pytest

from wirebay.cli import ns, qemu, serve
from wirebay.cli.control import control_path
from wirebay.errors import OptionError

USER = ["-netdev", "user,id=u0"]
WANTED = "give unix:PATH,server=on,wait=off"


@pytest.mark.parametrize(
    ("control", "qmp", "path"),
    [
        (None, None, None),
        ("a.sock", None, "a.sock"),
        (None, "unix:/run/a.sock,server=on,wait=off", "/run/a.sock"),
        (None, "unix:/run/a.sock,server,nowait", "/run/a.sock"),
        (None, "unix:a,,b.sock,wait=no,server=yes", "a,b.sock"),
    ],
)
def test_both_spellings_name_the_socket(control: str | None, qmp: str | None, path: str | None) -> None:
    assert control_path(control, qmp) == path


@pytest.mark.parametrize(
    ("control", "qmp", "sentence"),
    [
        ("", None, "--control expects a path"),
        ("a", "unix:a,server=on,wait=off", "give --control or -qmp, not both: they mean the same socket"),
        (None, "stdio", f"-qmp stdio: only unix sockets are served; {WANTED}"),
        (None, "unix:,server=on", f"-qmp unix:,server=on: only unix sockets are served; {WANTED}"),
        (
            None,
            "tcp:127.0.0.1:4444,server=on,wait=off",
            f"-qmp tcp:127.0.0.1:4444,server=on,wait=off: only unix sockets are served; {WANTED}",
        ),
        (None, "unix:a", f"-qmp unix:a: wirebay is the server; {WANTED}"),
        (None, "unix:a,server=off", f"-qmp unix:a,server=off: wirebay is the server; {WANTED}"),
        (None, "unix:a,server=on", f"-qmp unix:a,server=on: wirebay does not wait for a client; {WANTED}"),
        (None, "unix:a,server=on,pretty=on", "-qmp unix:a,server=on,pretty=on: Invalid parameter 'pretty'"),
        (
            "x" * 108,
            None,
            f"UNIX socket path '{'x' * 108}' is too long: it must be less than 108 bytes",
        ),
    ],
)
def test_anything_else_is_refused(control: str | None, qmp: str | None, sentence: str) -> None:
    with pytest.raises(OptionError) as error:
        control_path(control, qmp)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "command",
    [
        lambda: serve.run([*USER, "--control", ""]),
        lambda: serve.run([*USER, "-qmp", "stdio"]),
        lambda: ns.run(["--control", "", "--", "true"]),
        lambda: qemu.run(["--control", "", "qemu-system-x86_64"]),
    ],
)
def test_every_command_that_serves_has_the_option(command: object) -> None:
    assert callable(command)
    with pytest.raises(OptionError, match=r"--control expects a path|only unix sockets"):
        command()


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_the_path_is_not_taken_for_qemu(separator: list[str]) -> None:
    own, command = qemu.split_command(["--control", "a.sock", "-n", *separator, "qemu", "--control", "b"])
    assert own == ["--control", "a.sock", "-n"]
    assert command == ["qemu", "--control", "b"]


def test_qemu_without_a_user_network_has_nothing_to_control() -> None:
    with pytest.raises(OptionError) as error:
        qemu.run(["--control", "a.sock", "--", "qemu-system-x86_64", "-nic", "none"])
    assert str(error.value) == "--control a.sock: this command line has no user network for wirebay to serve"
