"""Files that survive a crash: replacement, appended lines, the chained log."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_lab import durable
from research_lab.durable import GENESIS, ChainedLog, append_line, append_lines, atomic_write
from research_lab.errors import LedgerError

KILLED = """
import os, sys
from pathlib import Path
from research_lab import durable

call, nth, path, action = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
real, seen = getattr(os, call), 0

def fatal(*arguments):
    global seen
    seen += 1
    if seen == nth:
        os._exit(9)
    return real(*arguments)

setattr(os, call, fatal)
if action == "write":
    durable.atomic_write(path, "new")
else:
    durable.ChainedLog(path).append({"a": 2})
"""


def kill_at(call: str, nth: int, path: Path, action: str) -> int:
    root = Path(durable.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, call, str(nth), str(path), action], cwd=root, check=False
    )
    return done.returncode


def refuse(error: int) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    return call


def test_a_written_file_has_the_content_and_the_hash_returned(tmp_path: Path) -> None:
    target = tmp_path / "map.yaml"
    digest = atomic_write(target, "größe: 1\n")
    assert target.read_text(encoding="utf-8") == "größe: 1\n"
    assert digest == hashlib.sha256("größe: 1\n".encode()).hexdigest()
    assert os.listdir(tmp_path) == ["map.yaml"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_disk_that_refuses_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    target = tmp_path / "map.yaml"
    atomic_write(target, "old")
    monkeypatch.setattr(os, call, refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        atomic_write(target, "new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["map.yaml"]


def test_data_are_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    atomic_write(tmp_path / "map.yaml", "x")
    assert calls == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    ("call", "nth", "content"),
    [("fsync", 1, "old"), ("replace", 1, "old"), ("fsync", 2, "new")],
)
def test_a_killed_writer_leaves_the_old_content_or_the_new_one(
    tmp_path: Path, call: str, nth: int, content: str
) -> None:
    target = tmp_path / "map.yaml"
    atomic_write(target, "old")
    assert kill_at(call, nth, target, "write") == 9
    assert target.read_text() == content
    assert durable.remove_leftovers(target) == (1 if content == "old" else 0)
    assert os.listdir(tmp_path) == ["map.yaml"]


def test_leftovers_of_another_file_stay(tmp_path: Path) -> None:
    (tmp_path / ".other.yaml.0123456789ab.tmp").touch()
    assert durable.remove_leftovers(tmp_path / "map.yaml") == 0


def test_an_appended_line_cuts_off_a_torn_one(tmp_path: Path) -> None:
    target = tmp_path / "lines"
    append_lines(target, ["one", "two"])
    with open(target, "ab") as file:
        file.write(b"tor\0\0")
    append_line(target, "three")
    assert target.read_text() == "one\ntwo\nthree\n"


def test_a_line_break_inside_a_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line break"):
        append_line(tmp_path / "lines", "a\nb")


@settings(max_examples=25)
@given(texts=st.lists(st.text(max_size=40).filter(lambda t: "\n" not in t and "\r" not in t), max_size=6))
def test_lines_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    target = tmp_path_factory.mktemp("lines") / "lines"
    for text in texts:
        append_line(target, text)
    written = target.read_bytes().split(b"\n")[:-1] if texts else []
    assert [line.decode() for line in written] == texts


def test_a_refused_append_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ChainedLog(tmp_path / "log")
    log.append({"a": 1})
    before = log.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            log.extend([{"a": 2}, {"a": 3}])
    assert log.path.read_bytes() == before
    assert log.append({"a": 4}).n == 2


def test_the_chain_binds_every_line_to_those_before_it(tmp_path: Path) -> None:
    log = ChainedLog(tmp_path / "log")
    assert log.head() == GENESIS
    first, second = log.extend([{"b": 1, "a": 0.1}, {"c": None}])
    third = log.append({"ü": "x\ny"})
    assert [line.n for line in (first, second, third)] == [1, 2, 3]
    assert log.read() == [first, second, third]
    assert log.head() == third.hash
    assert log.anchor() == (3, third.hash)
    log.check_anchor(2, second.hash)


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000])
def test_the_tail_is_found_at_any_line_length(tmp_path: Path, size: int) -> None:
    log = ChainedLog(tmp_path / "log")
    log.append({"text": "x" * size})
    log.append({"text": "y" * size})
    assert log.append({"text": "z"}).n == 3
    assert [line.n for line in log.read()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (lambda lines: [lines[0], lines[2]], ":2"),
        (lambda lines: [lines[1], lines[0], lines[2]], ":1"),
        (lambda lines: [lines[0], lines[1].replace(b'"a":1', b'"a":7'), lines[2]], ":2"),
        (lambda lines: [lines[0], b"\xff\xfe garbage", lines[2]], ":2"),
        (lambda lines: [lines[0], b"", lines[1], lines[2]], ":2"),
        (lambda lines: [lines[0], lines[1].replace(b'"n":2', b'"n":"2"'), lines[2]], ":2"),
        (lambda lines: [lines[0], lines[1].replace(b'"n":2', b'"x":1,"n":2'), lines[2]], ":2"),
        (lambda lines: [lines[0], b"[" * 100_000, lines[2]], ":2"),
    ],
)
def test_a_changed_removed_or_inserted_line_is_found(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], where: str
) -> None:
    log = ChainedLog(tmp_path / "log")
    log.extend([{"a": 0}, {"a": 1}, {"a": 2}])
    lines = damage(log.path.read_bytes().split(b"\n")[:-1])
    log.path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(LedgerError, match=where):
        log.read()


def test_a_cut_end_shows_against_the_anchor_only(tmp_path: Path) -> None:
    log = ChainedLog(tmp_path / "log")
    log.extend([{"a": 0}, {"a": 1}])
    n, head = log.anchor()
    lines = log.path.read_bytes().split(b"\n")
    log.path.write_bytes(lines[0] + b"\n")
    assert len(log.read()) == 1
    with pytest.raises(LedgerError, match="cut off"):
        log.check_anchor(n, head)
    log.append({"a": 9})
    with pytest.raises(LedgerError, match="rewritten"):
        log.check_anchor(n, head)


def test_a_log_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(tmp_path: Path) -> None:
    source = ChainedLog(tmp_path / "source")
    source.extend([{"a": 0}, {"a": 1}])
    raw = source.path.read_bytes()
    first = raw.index(b"\n") + 1
    for cut in (*range(0, len(raw), 7), first - 1, first, first + 1, len(raw) - 1, len(raw)):
        log = ChainedLog(tmp_path / "cut")
        log.path.write_bytes(raw[:cut])
        whole = (cut >= first) + (cut == len(raw))
        assert len(log.read()) == whole
        assert log.append({"a": 9}).n == whole + 1
        assert len(log.read()) == whole + 1


def test_a_writer_killed_before_its_sync_loses_at_most_its_own_line(tmp_path: Path) -> None:
    log = ChainedLog(tmp_path / "log")
    log.append({"a": 1})
    assert kill_at("fsync", 1, log.path, "append") == 9
    assert len(log.read()) in (1, 2)
    log.append({"a": 3})
    assert log.read()[-1].payload == {"a": 3}


def test_processes_that_append_together_lose_no_line(tmp_path: Path) -> None:
    root = Path(durable.__file__).parents[1]
    code = (
        "import sys; from pathlib import Path; from research_lab.durable import ChainedLog\n"
        "log = ChainedLog(Path(sys.argv[1]))\n"
        "for i in range(50): log.append({'who': sys.argv[2], 'i': i})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "log"), str(who)], cwd=root)
        for who in range(4)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    lines = ChainedLog(tmp_path / "log").read()
    seen = {(line.payload["who"], line.payload["i"]) for line in lines}
    assert len(lines) == 200
    assert seen == {(str(who), i) for who in range(4) for i in range(50)}


def test_a_line_is_canonical_json(tmp_path: Path) -> None:
    log = ChainedLog(tmp_path / "log")
    log.append({"b": 1, "a": "é"})
    text = log.path.read_text(encoding="utf-8")
    assert '"payload":{"a":"é","b":1}' in text
    assert json.loads(text)["prev"] == GENESIS
    with pytest.raises(ValueError, match="Out of range float"):
        log.append({"a": float("nan")})
