"""Why a library cannot be preloaded into what a command executes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from valve_runtime import program
from valve_runtime.program import Obstacle, executed, obstacle

PRELOAD = Path(sys.executable).resolve()  # any ELF file of this machine's architecture


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """A dynamically linked program of our own."""
    return Path(shutil.copy(shutil.which("true") or "", tmp_path / "binary"))


def make_script(path: Path, first_line: str) -> str:
    path.write_text(f"{first_line}\n")
    path.chmod(0o755)
    return str(path)


def reason(command: str) -> str | None:
    found = obstacle(command, PRELOAD)
    return found.reason if found else None


def test_an_ordinary_program_has_none(binary: Path) -> None:
    assert reason(str(binary)) is None
    assert reason("sh") is None
    assert reason(sys.executable) is None


@pytest.mark.parametrize("line", ["#!{}", "#! {} -x", "#!/usr/bin/env {}", "#!/usr/bin/env -S A=1 {} -u"])
def test_scripts_are_looked_through(line: str, binary: Path, tmp_path: Path) -> None:
    inner = make_script(tmp_path / "inner", line.format(binary))
    assert executed(make_script(tmp_path / "outer", f"#!{inner}")) == binary


def test_a_name_is_found_as_exec_finds_it(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert executed("binary") == binary
    assert executed("no-such-command") is None


def test_what_exec_will_refuse_has_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF\x02\x01" + bytes(10))
    for command in ("no-such-command", str(tmp_path), "/nowhere/x", str(broken), make_script(broken, "")):
        assert obstacle(command, PRELOAD) is None
    loop = tmp_path / "loop"
    assert obstacle(make_script(loop, f"#!{loop}"), PRELOAD) is None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("way", ["-static", "-static-pie"])
def test_a_static_binary(way: str, tmp_path: Path) -> None:
    source = tmp_path / "main.c"
    source.write_text("int main(void) { return 0; }")
    built = subprocess.run(
        ["cc", way, "-o", tmp_path / "main", source], check=False, capture_output=True, text=True
    )
    if built.returncode:
        pytest.skip("no static C library here")
    assert reason(str(tmp_path / "main")) == f"{tmp_path / 'main'} is statically linked"


@pytest.mark.parametrize("at", [4, 18])
def test_another_architecture(at: int, binary: Path) -> None:
    """Word size (byte 4) and machine (bytes 18 and 19)."""
    content = bytearray(binary.read_bytes())
    content[at] ^= 3
    binary.write_bytes(content)
    assert reason(str(binary)) == f"{binary} is built for another architecture"


def test_another_c_library_breaks(binary: Path) -> None:
    content = binary.read_bytes()
    start = content.index(b"/lib64/ld-linux" if b"/lib64/ld-linux" in content else b"/lib/ld-linux")
    end = content.index(b"\0", start)
    binary.write_bytes(content[:start] + b"/lib/ld-musl".ljust(end - start, b"\0") + content[end:])
    assert obstacle(str(binary), PRELOAD) == Obstacle(f"{binary} uses another C library (musl)", breaks=True)


MORE_RIGHTS = "runs with more rights than yours (setuid, setgid or file capabilities)"


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_setuid_and_setgid(mode: int, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary.chmod(mode)
    assert reason(str(binary)) is None  # our own rights are no more than ours
    monkeypatch.setattr(os, "getuid", lambda: binary.stat().st_uid + 1)
    monkeypatch.setattr(os, "getgid", lambda: binary.stat().st_gid + 1)
    assert reason(str(binary)) == f"{binary} {MORE_RIGHTS}"
    script = make_script(binary.with_name("script"), "#!/bin/sh")
    Path(script).chmod(mode)
    assert reason(script) is None  # these bits say nothing of a script


@pytest.mark.parametrize("uid", [0, 1000])
def test_file_capabilities(uid: int, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(os, "getxattr", lambda *_: b"\1\0\0\2")
    assert reason(str(binary)) == (f"{binary} {MORE_RIGHTS}" if uid else None)


def test_a_file_system_without_capabilities(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.ENOTSUP, "no")

    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(program.os, "getxattr", refuse)
    assert reason(str(binary)) is None
