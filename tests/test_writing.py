"""Files are written whole or not at all, and wherever a path leads."""

import errno
import gzip
import os
import socket
import stat
import sys
import threading

import numpy as np
import pytest
from handmade import STEADY, comparison

from fastmlp import MLP, Comparisons
from fastmlp.cli import main
from fastmlp.writing import writing

posix_only = pytest.mark.skipif(os.name != "posix", reason="about files of POSIX")
NET = MLP([2, 1], seed=0)
X = np.random.default_rng(0).normal(size=(20, 2))
COMPARISON = comparison({"steady": STEADY}, target=2.0)


def save_estimator(path):
    pytest.importorskip("sklearn")
    from fastmlp import MLPRegressor

    MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs", random_state=0).fit(X, X[:, 0]).save(path)


def keep_checkpoint(path):
    NET.copy().fit(X, X[:, 0], epochs=1, checkpoint=path, seed=0)


def draw(path):
    pytest.importorskip("matplotlib")
    COMPARISON.plot(path)


def draw_profile(path):
    pytest.importorskip("matplotlib")
    Comparisons({"one": COMPARISON}).plot_profile(path)


@pytest.fixture
def predict(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    NET.save(folder / "model")
    np.savetxt(folder / "data.csv", X, delimiter=",", header="a,b", comments="")

    def predict(path):
        command = ["predict", str(folder / "model"), str(folder / "data.csv"), "--out", str(path)]
        if main(command) != 0:
            raise PermissionError

    return predict


WRITERS = {
    "model": NET.save,
    "estimator": save_estimator,
    "checkpoint": keep_checkpoint,
    "trace": STEADY[0].result.trace.to_csv,
    "CSV": COMPARISON.to_csv,
    "JSON": COMPARISON.to_json,
    "HTML": COMPARISON.to_html,
    "figure": draw,
    "profile": draw_profile,
    "predictions": "predict",
}


@pytest.fixture(params=WRITERS)
def write(request):
    """Writes a file of some kind to a path."""
    writer = WRITERS[request.param]
    return request.getfixturevalue(writer) if isinstance(writer, str) else writer


@pytest.fixture(params=["model", "checkpoint", "CSV"])
def write_one(request):
    """Of those kinds, which all are written by the same code, a few."""
    return WRITERS[request.param]


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# Where a path leads


@posix_only
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to no file yet"])
def test_of_a_link_the_file_that_it_names_is_written(write, there, tmp_path):
    (tmp_path / "far").mkdir()
    file, link, chain = tmp_path / "far" / "file", tmp_path / "link", tmp_path / "chain"
    if there:
        write(file)
    link.symlink_to("far/file")
    chain.symlink_to(link)
    write(chain)
    assert chain.is_symlink()
    assert link.is_symlink()
    assert file.stat().st_size > 0
    assert not file.is_symlink()
    assert sorted(tmp_path.rglob("*")) == sorted([tmp_path / "far", file, link, chain])


@posix_only
def test_a_device_is_written_into(write, tmp_path):
    link = tmp_path / "nowhere"
    link.symlink_to(os.devnull)
    if write is keep_checkpoint:  # which has to be read back
        with pytest.raises(ValueError, match=r"checkpoint must be a plain file, '.*' is none"):
            write(link)
    else:
        write(link)
    assert link.is_symlink()
    assert link.is_char_device()
    assert list(tmp_path.iterdir()) == [link]


def read_pipe(path, write):
    """What `write` writes into a pipe."""
    os.mkfifo(path)
    content = []
    reader = threading.Thread(target=lambda: content.append(path.read_bytes()))
    reader.start()
    write(path)
    reader.join()
    assert path.is_fifo()
    return content[0]


@posix_only
def test_a_pipe_is_written_into(write_one, tmp_path):
    pipe = tmp_path / "pipe"
    if write_one is keep_checkpoint:
        os.mkfifo(pipe)
        with pytest.raises(ValueError, match=r"checkpoint must be a plain file, '.*' is none"):
            write_one(pipe)
        assert pipe.is_fifo()
        return
    file = tmp_path / "file"
    write_one(file)
    # A model has its texts in any order.
    assert sorted(read_pipe(pipe, write_one)) == sorted(file.read_bytes())
    assert sorted(tmp_path.iterdir()) == [file, pipe]


@posix_only
def test_a_model_passes_through_pipes(tmp_path):
    (tmp_path / "copy").write_bytes(read_pipe(tmp_path / "pipe", NET.save))
    np.testing.assert_array_equal(MLP.load(tmp_path / "copy").theta, NET.theta)
    writer = threading.Thread(target=lambda: NET.save(tmp_path / "pipe"))
    writer.start()
    loaded = MLP.load(tmp_path / "pipe")
    writer.join()
    np.testing.assert_array_equal(loaded.theta, NET.theta)


@posix_only
def test_a_pipe_that_nobody_reads_any_more(tmp_path):
    reader, writer = os.pipe()
    with open(writer, "wb"):
        os.close(reader)
        path = f"/dev/fd/{writer}"
        if not os.path.exists(path):
            pytest.skip("there is no /dev/fd here")
        with pytest.raises(OSError, match=r"path '/dev/fd/.*' is a pipe that nobody reads any mor"):
            NET.save(path)


@pytest.mark.skipif(sys.platform != "linux", reason="about links of /proc")
def test_an_open_file_that_was_deleted_is_written_into(write_one, tmp_path):
    with open(tmp_path / "file", "w+b") as file:
        os.unlink(file.name)
        path = f"/proc/self/fd/{file.fileno()}"
        if write_one is keep_checkpoint:
            with pytest.raises(ValueError, match=r"checkpoint must be a plain file, '.*' is none"):
                write_one(path)
        else:
            write_one(path)
            file.seek(0)
            assert file.read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="there is no /dev/fd here")
@pytest.mark.parametrize("opened_to", ["w", "a"])
def test_what_this_process_has_open_is_written_from_where_it_stands(opened_to, tmp_path):
    (tmp_path / "file").write_text("before\n")
    link = tmp_path / "link"
    with open(tmp_path / "file", opened_to) as file:
        print("head", file=file, flush=True)
        link.symlink_to(f"/dev/fd/{file.fileno()}")
        with writing("path", link, "w", encoding="utf-8") as written:
            written.write("content\n")
        print("foot", file=file)
    kept = "before\n" if opened_to == "a" else ""
    assert (tmp_path / "file").read_text() == f"{kept}head\ncontent\nfoot\n"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file", link]


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="there is no /dev/fd here")
def test_what_is_open_to_be_read_is_refused(write_one, tmp_path):
    (tmp_path / "file").write_text("before")
    with open(tmp_path / "file") as file:
        path = f"/dev/fd/{file.fileno()}"
        with pytest.raises((PermissionError, ValueError), match=r"must be (open for w|a plain f)"):
            write_one(path)
    assert (tmp_path / "file").read_text() == "before"
    with pytest.raises((PermissionError, ValueError), match=r"must be (open for w|a plain f)"):
        write_one(path)  # closed by now
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@posix_only
def test_links_that_lead_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="link"):
        NET.save(tmp_path / "link")


@posix_only
def test_a_socket_is_refused(write_one, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OSError, match=r"must be a file, 'socket' is a socket|^$"):
            write_one("socket")
    assert (tmp_path / "socket").is_socket()


# Whose it is


@posix_only
def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_its_own(write_one, tmp_path, umask):
    path = tmp_path / "file"
    write_one(path)
    assert mode(path) == 0o666 & ~umask
    path.chmod(0o604)
    write_one(path)
    assert mode(path) == 0o604


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root gives files away")
def test_an_old_file_keeps_its_owner(write_one, tmp_path):
    path = tmp_path / "file"
    write_one(path)
    os.chown(path, 12345, 54321)
    write_one(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_a_file_that_is_read_only_is_refused(write, tmp_path):
    """To root as well, who could."""
    path = tmp_path / "file"
    write(path)
    before = path.read_bytes()
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"must be a file that can be written, .*read-onl|^$"):
        write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_names_may_be_as_long_as_the_system_allows(write_one, tmp_path):
    path = tmp_path / ("x" * 255)
    for _ in range(2):
        write_one(path)
    assert list(tmp_path.iterdir()) == [path]


# Whole or not at all


def test_what_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with writing("path", path, "w", encoding="utf-8") as file:
            file.write("half of it")
            file.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_figure_of_an_unknown_kind_leaves_the_old_file(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "paths.banana"
    path.write_text("old")
    with pytest.raises(ValueError, match="'banana' is not supported"):
        COMPARISON.plot(path)
    assert path.read_text() == "old"


def test_a_file_mounted_by_itself_is_written_into(write_one, tmp_path, monkeypatch):
    """It is busy, as the system says: nothing can take its place."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    number = path.stat().st_ino
    if write_one is keep_checkpoint:
        path.unlink()
        write_one(path)
        number = path.stat().st_ino

    def busy(source, target):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "replace", busy)
    write_one(path)
    assert path.stat().st_size > 0
    assert path.stat().st_ino == number
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_for_no_other_file(tmp_path, monkeypatch):
    """A file in it is written into, and a new one refused."""
    path = tmp_path / "file"
    path.write_text("old")
    number = path.stat().st_ino
    monkeypatch.setattr(os, "access", lambda where, mode: where != tmp_path)
    NET.save(path)
    assert path.stat().st_ino == number
    np.testing.assert_array_equal(MLP.load(path).theta, NET.theta)
    with pytest.raises(PermissionError, match="path must be in a folder that can be written, got "):
        NET.save(tmp_path / "new")


# The command line


def test_compare_refuses_before_it_runs_what_it_could_not_write(tmp_path, capsys):
    (tmp_path / "comparison.json").touch(mode=0o444)
    assert main(["compare", "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--out must be a file that can be written, " in captured.err
    assert "comparison.json' is read-only" in captured.err


def test_predictions_are_compressed_if_their_name_says_so(predict, tmp_path):
    predict(tmp_path / "plain.csv")
    predict(tmp_path / "small.csv.gz")
    content = gzip.decompress((tmp_path / "small.csv.gz").read_bytes())
    assert content == (tmp_path / "plain.csv").read_bytes()
    assert content.startswith(b"output\n")
