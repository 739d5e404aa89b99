"""Files are replaced whole or not at all, and stay what they were otherwise."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from byoc.errors import ArtifactError
from byoc.support.files import atomic_write, opened, write_text


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def save(path, content=b"new"):
    with atomic_write(path) as file:
        file.write(content)


def test_a_new_file_has_the_mode_of_any_other(tmp_path):
    save(tmp_path / "a")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert mode(tmp_path / "a") == mode(tmp_path / "b")


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o755, 0o444])
def test_an_existing_file_keeps_its_mode(tmp_path, kept):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(kept)
    save(path)
    assert path.read_bytes() == b"new" and mode(path) == kept


def test_a_secret_is_never_readable_by_others_on_its_way(tmp_path):
    path = tmp_path / "a"
    path.touch(0o600)
    with atomic_write(path) as file:
        file.write(b"secret")
        file.flush()
        assert {mode(p) for p in tmp_path.iterdir()} == {0o600}


def test_a_link_stays_a_link(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder / "target")
    for content in (b"first", b"second"):  # it may point to nothing yet
        save(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (folder / "target").read_bytes() == content
    assert [p.name for p in folder.iterdir()] == ["target"]


def test_a_device_is_written_and_not_replaced():
    save("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail():
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_and_a_missing_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        save(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "none" / "a")
    with pytest.raises(ArtifactError, match=r"cannot write the report to .*choose a path"):
        write_text(tmp_path / "none" / "a", "text", "the report")
    assert [p.name for p in tmp_path.rglob("*")] == ["folder"]


def test_a_long_name(tmp_path):
    name = "n" * 255
    save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_many_writers_one_path(tmp_path):
    path = tmp_path / "a"
    contents = [bytes([k]) * 5000 for k in range(8)]

    def write(k):
        save(path, contents[k % 8])
        return path.read_bytes() in contents

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, range(200)))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    code = (
        "import os, signal, sys\nfrom byoc.support.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9 and path.read_bytes() == b"old"
    save(path)
    assert path.read_bytes() == b"new"


def test_text_is_utf8_without_translation(tmp_path):
    write_text(tmp_path / "a", "é\n中\r\n", "the text")
    assert (tmp_path / "a").read_bytes() == "é\n中\r\n".encode()


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    with opened(tmp_path / "a") as fd:
        assert os.read(fd, 9) == b"x"
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path / "pipe", "no regular file"), (tmp_path / "no", "cannot read")):
        with pytest.raises(ArtifactError, match=message), opened(path):
            pass
