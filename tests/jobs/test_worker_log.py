from __future__ import annotations

from pathlib import Path

from webui.jobs.worker_log import KEPT_LINES, WorkerLog


def test_the_log_never_grows_beyond_two_files(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "log" / "worker.log", max_bytes=1000)
    for number in range(500):
        log.write(f"line {number}\n".encode())
    log.close()
    files = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert files == ["worker.log", "worker.log.1"]
    assert all(path.stat().st_size <= 1000 for path in (tmp_path / "log").iterdir())
    assert (tmp_path / "log" / "worker.log").read_text().endswith("line 499\n")


def test_one_huge_piece_is_cut_to_the_limit(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "worker.log", max_bytes=1000)
    log.write(b"x" * 5000)
    log.write(b"y" * 5000)
    log.close()
    assert (tmp_path / "worker.log").stat().st_size == 1000


def test_the_last_lines_are_kept_across_split_pieces(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "worker.log")
    text = "".join(f"{n}: 丹青\n" for n in range(100)).encode() + b"10%\r20%\rno end"
    for start in range(0, len(text), 7):
        log.write(text[start : start + 7])
    assert log.last_lines()[-4:] == ("99: 丹青", "10%", "20%", "no end")
    assert len(log.last_lines()) == KEPT_LINES + 1
    log.forget_lines()
    assert log.last_lines() == ()


def test_a_log_that_cannot_be_written_still_keeps_the_lines(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = WorkerLog(tmp_path / "file" / "worker.log")
    log.write(b"something happened\n")
    assert log.last_lines() == ("something happened",)
