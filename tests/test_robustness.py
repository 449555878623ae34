"""Processes, threads and caches: what must not crash, hang, change a bit or go unsaid."""

import compileall
import inspect
import json
import os
import pickle
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import llvmlite.binding
import numba
import numpy as np
import pytest
from marks import compiled_only
from numpy._core import _multiarray_umath
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import Adam, minimize
from fastmlp.kernels import _jit, codes, threads
from fastmlp.kernels._jit import cache as kept
from fastmlp.kernels._jit import cache_folder

pytestmark = compiled_only

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
HOST_FEATURES = {name for name, has in _multiarray_umath.__cpu_features__.items() if has}
each_layer = pytest.mark.parametrize("layer", ["default", "workqueue"])

ANNOUNCEMENT = "fastmlp: compiling kernels for this machine"


def train(n_threads=2):
    """Bits of a network after training on batches for a team and on small ones; of its outputs."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 20)), rng.integers(0, 3, 200)
    net = fastmlp.MLP([20, 30, 3], output="softmax", seed=1)
    for batch_size in (100, 7):
        net.fit(X, y, epochs=3, batch_size=batch_size, n_threads=n_threads, seed=2)
    outputs = net.predict(X, n_threads=n_threads)
    return (net.theta.tobytes() + outputs.tobytes()).hex()


# Tests run `train` in processes of their own; these lines go first.
PROGRAM = "import json, os, signal, threading\nimport numpy as np\nimport fastmlp\n\n{}\n"


def run(program, cache, **environment):
    """Run a program, with `train` defined, in a new process; return what it printed as JSON."""
    process = run_process(program, cache, **environment)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return json.loads(process.stdout)


def run_process(program, cache, **environment):
    return subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(inspect.getsource(train)) + program],
        env={**os.environ, "FASTMLP_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def with_layer(layer):
    return {} if layer == "default" else {"NUMBA_THREADING_LAYER": layer}


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory):
    """A cache folder for new processes that has all they need."""
    folder = tmp_path_factory.mktemp("warm")
    ours = _jit.cache_directory()
    if ours.is_dir():
        shutil.copytree(ours, folder / ours.name)
    look_for_nan = "fastmlp.MLP([1, 1]).loss([[1.0]], [1.0])"  # which fits do without
    process = run_process(f"train(1), train(2), {look_for_nan}", folder)
    assert process.returncode == 0, process.stderr
    return folder


# Threads and processes


@each_layer
def test_eight_python_threads_at_once(layer, warm_cache):
    """The workqueue layer aborts a process that enters it twice at once."""
    program = """
start = threading.Barrier(8)
results = []

def work():
    start.wait()
    for n_threads in (2, None, 1, 2):
        results.append(train(n_threads))

pool = [threading.Thread(target=work) for _ in range(8)]
for thread in pool:
    thread.start()
for thread in pool:
    thread.join()
import llvmlite.binding
import numba
print(json.dumps([results, numba.threading_layer()]))
"""
    results, used = run(program, warm_cache, **with_layer(layer))
    assert len(results) == 32
    assert set(results) == {train(1)}
    if layer != "default":
        assert used == layer


def test_threads_that_ask_for_a_worker_at_once(monkeypatch):
    """All get the same machine code: another's could be freed while they run it."""
    keep = kept.keep

    def slowly(*arguments):
        time.sleep(0.05)  # all threads come by while the first is still busy
        return keep(*arguments)

    monkeypatch.setattr(kept, "keep", slowly)
    worker = _jit.Worker(doubled)
    with ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(worker.address, [np.ones(2)] * 4))
    assert len(set(addresses)) == 1


def test_a_kernel_is_loaded_where_no_thread_can_start(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert_array_equal(standalone_double([1.0, 2.0]), [2, 4])


def standalone_double(values):
    x = np.array(values)
    _jit.Twin(doubled).serial(x)
    return x


def test_threads_with_different_work_side_by_side():
    """Each fit gets what it gets alone: no buffer is shared."""

    def work(seed):
        rng = np.random.default_rng(seed)
        sizes = [5 + seed, 10 * (seed + 1), 2]
        net = fastmlp.MLP(sizes, dtype="float64" if seed % 2 else "float32", seed=seed)
        X = rng.normal(size=(100, sizes[0]))
        net.fit(X, X[:, :2], optimizer=Adam() if seed % 3 else "lbfgs", epochs=5, seed=seed)
        return net.theta

    one_by_one = [work(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(work, range(8)))
    for theta, expected in zip(at_once, one_by_one, strict=True):
        assert_array_equal(theta, expected)


@pytest.mark.parametrize("n_rows", [1, 5000])
def test_predictions_side_by_side(n_rows):
    """Each thread gets the outputs of its own rows: no scratch is shared."""
    net = fastmlp.MLP([20, 30, 3], output="softmax", seed=1)
    X = np.random.default_rng(0).normal(size=(8, n_rows, 20)).astype(np.float32)
    one_by_one = [net.predict(rows) for rows in X]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(net.predict, [*X] * 20))
    for outputs, expected in zip(at_once, one_by_one * 20, strict=True):
        assert_array_equal(outputs, expected)


@needs_fork
@each_layer
def test_fork_after_a_parallel_fit(layer, warm_cache):
    """GNU OpenMP kills a child that uses the threads its parent had."""
    program = """
before = train(2)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if train(2) == train(None) == train(1) == before else 1)
status = os.waitpid(child, 0)[1]
print(json.dumps([status, before, train(2)]))
"""
    status, before, after = run(program, warm_cache, **with_layer(layer))
    assert status == 0
    assert before == after == train(1)


@needs_fork
def test_fork_before_any_fit(warm_cache):
    program = """
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if train(2) == train(1) else 1)
result = train(2)
print(json.dumps([os.waitpid(child, 0)[1], result]))
"""
    assert run(program, warm_cache) == [0, train(1)]


@needs_fork
def test_fork_within_a_sweep(warm_cache):
    """The child goes on alone with a mini-batch that a team in its parent has begun."""
    program = """
from fastmlp import sweep

rng = np.random.default_rng(0)
X, y = rng.normal(size=(6000, 100)), rng.normal(size=(6000, 1))
net = fastmlp.MLP([100, 512, 64, 1], seed=0)
alone = net.loss_and_grad(X, y, n_threads=1)
run_sweep, calls, child = sweep.run_sweep, [], None

def forking(tables, as_team, stop, *arguments):
    global child
    calls.append(as_team)
    if len(calls) == 3:
        child = os.fork()
    return run_sweep(tables, as_team, min(stop, len(calls)), *arguments)

sweep.run_sweep = forking
loss, gradient = net.loss_and_grad(X, y, n_threads=2)
is_same = loss == alone[0] and (gradient == alone[1]).all()
if child == 0:
    os._exit(0 if is_same else 1)
print(json.dumps([os.waitpid(child, 0)[1], bool(is_same), calls[:4]]))
"""
    assert run(program, warm_cache) == [0, True, [True] * 4]


@needs_fork
def test_fork_after_threads_were_started_for_another_than_a_fit(warm_cache):
    """As by a parallel kernel of the user's: to GNU OpenMP it is the same."""
    program = """
import numba
numba.get_num_threads()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if train(2) == train(1) else 1)
print(json.dumps(os.waitpid(child, 0)[1]))
"""
    assert run(program, warm_cache) == 0


@needs_fork
def test_fork_while_another_thread_loads_kernels(warm_cache):
    """The child trains: it finds no lock taken, and no half of what was being loaded."""
    program = """
import gc
from numba.core.compiler_lock import global_compiler_lock

results = []
thread = threading.Thread(target=lambda: results.append(train(1)))
thread.start()
while global_compiler_lock._lock.acquire(blocking=False):
    global_compiler_lock._lock.release()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if train(1) == train(2) and gc.isenabled() else 1)
status = os.waitpid(child, 0)[1]
thread.join()
print(json.dumps([status, gc.isenabled(), *results]))
"""
    assert run(program, warm_cache) == [0, True, train(1)]


@needs_fork
def test_signal_while_a_fork_waits_for_the_compiler(warm_cache):
    """The fork goes on to wait, and the handler's exception is raised after it."""
    program = """
import time
from fastmlp.kernels._jit import compiling

begun, is_done = threading.Event(), []

def compile_slowly():
    begun.set()
    time.sleep(0.5)
    is_done.append(True)

def raise_time_is_up(signum, frame):
    raise TimeoutError("time is up")

signal.signal(signal.SIGALRM, raise_time_is_up)
threading.Thread(target=compiling.undisturbed, args=(compile_slowly,)).start()
begun.wait()
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    if os.fork() == 0:
        os._exit(0 if is_done else 1)
    for _ in range(1000):
        time.sleep(0.01)
except TimeoutError as error:
    print(json.dumps([os.wait()[1], str(error)]))
"""
    assert run(program, warm_cache) == [0, "time is up"]


@needs_fork
def test_fork_in_a_signal_s_handler_while_a_kernel_is_loaded(warm_cache):
    """The handler returns, and the child goes on without the thread that loads for its parent."""
    program = """
from fastmlp.kernels._jit import compiling

children, compile_kernel = [], compiling._compile

def fork(signum, frame):
    children.append(os.fork())
    signal.alarm(20 if children == [0] else 0)

def compile_while_forked(*arguments):
    result = compile_kernel(*arguments)
    if not children:
        os.kill(os.getpid(), signal.SIGUSR1)
        threading.Event().wait(0.5)
    return result

signal.signal(signal.SIGUSR1, fork)
compiling._compile = compile_while_forked
process = compiling.undisturbed(os.getpid)
if children == [0]:
    os._exit(0 if os.getpid() == process and train(1) == train(2) else 1)
print(json.dumps([len(children), os.waitpid(children[0], 0)[1]]))
"""
    assert run(program, warm_cache) == [1, 0]


def test_numbas_number_of_threads_is_left_as_it_was():
    before = numba.get_num_threads()
    for n_threads in (1, 2, None):
        train(n_threads)
        assert numba.get_num_threads() == before
    numba.set_num_threads(1)
    try:
        train(2)
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="a team needs two threads")
def test_a_layer_that_does_not_give_each_part_a_thread(monkeypatch):
    """The team finds out, goes home, and one thread does the work of all."""
    expected = train(1)
    monkeypatch.setitem(threads._state, "alone_until", 0.0)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        monkeypatch.setattr(numba, "set_num_threads", lambda n: None)
        assert train(2) == expected
    finally:
        monkeypatch.undo()
        numba.set_num_threads(before)


def test_a_busy_thread_team_is_not_waited_for():
    """A fit in another thread runs alone, and gets the same bits."""
    expected = train(1)
    results = []
    with threads.parallel_region(2):
        worker = threading.Thread(target=lambda: results.append(train(2)))
        worker.start()
        worker.join()
    assert results == [expected]


# Cores


V1 = {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}
V1_CHILD = {
    "cpu/a/cpu.cfs_quota_us": "50000\n",
    "cpu/a/cpu.cfs_period_us": "100000\n",
    "cpu/a/b/cpu.cfs_quota_us": "-1\n",
    "cpu/a/b/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3.0),
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000\n", "a/cpu.max": "100000 100000\n"}, 1.0),
        ("0::/a\n", {"other/cpu.max": "50000 100000\n"}, None),
        # A container that sees its own at the root, under the name that it has outside.
        ("0::/docker/1f\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/../outside\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("3:memory:/a\n2:cpu,cpuacct:/\n", V1, 4.0),
        ("2:cpuacct,cpu:/a/b\n0::/\n", {**V1, **V1_CHILD}, 0.5),
        ("2:cpuset:/a/b\n", V1_CHILD, None),
        ("2:cpu:/\n", {**V1, "cpu/cpu.cfs_quota_us": "-1\n"}, None),
        ("nonsense\n", {"cpu.max": "nonsense"}, None),
        (None, {"cpu.max": "150000 100000\n"}, 1.5),
        (None, {}, None),
    ],
)
def test_quota_of_the_control_group(own, files, quota, tmp_path):
    """The smallest of the process's own and of all above it."""
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    if own is not None:
        (tmp_path / "own").write_text(own)
    assert threads._cgroup_quota(root, tmp_path / "own") == quota


@pytest.mark.parametrize(("quota", "cores"), [(None, 3), (1.5, 1), (0.2, 1), (2.0, 2), (64.0, 3)])
def test_available_cores_are_cut_to_the_quota(quota, cores, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 4, 5}, raising=False)
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: quota)
    assert threads.available_cores() == cores


# The cache of compiled kernels


def test_compiling_is_said_once_and_nothing_is_said_later(tmp_path):
    """One small kernel, twice: stderr of a process with an empty cache, then with a warm one."""
    program = """
def bowl(x):
    return x @ x, 2 * x

results = [fastmlp.minimize(bowl, [1.0, 2.0], optimizer=name, max_iterations=3).theta.tolist()
           for name in ("adam", "sgd")]
print(json.dumps(results))
"""
    first = run_process(program, tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith(ANNOUNCEMENT)
    assert first.stderr.count("\n") == 1
    assert str(tmp_path) in first.stderr
    assert run(program, tmp_path) == json.loads(first.stdout)


def test_a_warm_cache_serves_training_in_silence(warm_cache):
    """`run` sees to the silence."""
    assert run("print(json.dumps([train(1), train(2)]))", warm_cache) == [train(1)] * 2


def test_small_work_has_the_small_loop_alone_compiled(warm_cache):
    """Also if the loss of many rows is taken; only their gradient needs the loop for teams."""
    program = """
from fastmlp.kernels import epoch, small

rng = np.random.default_rng(0)
X, y = rng.normal(size=(2000, 4)), rng.integers(0, 3, 2000)
net = fastmlp.MLP([4, 16, 3], output="softmax", seed=0)
net.fit(X, y, epochs=1, validation_data=(X, y))
net.loss(X, y)
used = [len(part._addresses) for part in (small.small_part, epoch.sweep_part)]
net.loss_and_grad(X, y)
used += [len(part._addresses) for part in (small.small_part, epoch.sweep_part)]
print(json.dumps(used))
"""
    assert run(program, warm_cache) == [1, 0, 1, 1]


def test_processes_that_fill_one_cache_at_the_same_time(tmp_path):
    program = """
result = fastmlp.minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], optimizer="adam")
print(json.dumps(result.theta.tolist()))
"""
    with ThreadPoolExecutor(3) as pool:
        processes = list(pool.map(run_process, [program] * 3, [tmp_path] * 3))
    assert {process.returncode for process in processes} == {0}
    assert len({process.stdout for process in processes}) == 1
    assert run(program, tmp_path) == json.loads(processes[0].stdout)


def doubled(x):
    for i in _jit.prange(x.size):
        x[i] *= 2


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder for this process."""
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def new_entry():
    """A kernel as a new process meets it; returns whether the cache served it."""
    twin = _jit.Twin(doubled)
    x = np.array([1.0, 2.0])
    twin.serial(x)
    assert_array_equal(x, [2, 4])
    return sum(twin.serial.stats.cache_hits.values()) == 1


def new_worker():
    worker = _jit.Worker(doubled)
    assert worker.address(np.ones(2)) != 0
    return sum(worker._code.stats.cache_hits.values()) == 1


both_kinds = pytest.mark.parametrize("new_kernel", [new_entry, new_worker])


@both_kinds
def test_a_kernel_is_compiled_once_and_then_loaded(new_kernel, cache):
    assert not new_kernel()
    assert new_kernel()
    assert new_kernel()


@pytest.mark.parametrize(
    ("new_kernel", "kind"), [(new_entry, _jit.Twin), (new_worker, _jit.Worker)]
)
def test_code_in_the_cache_is_known_before_it_is_loaded(new_kernel, kind, cache):
    def is_kept():
        return kind(doubled).is_kept(numba.float64[::1])

    assert not is_kept()
    assert not cache.exists()
    new_kernel()
    assert is_kept()
    next(cache.rglob("*.nbc")).unlink()
    assert not is_kept()


def test_threads_that_ask_at_once_share_a_worker_s_dispatcher(monkeypatch):
    made, keep, together = [], kept.keep, threading.Barrier(4)

    def slowly(*arguments):
        made.append(arguments)
        time.sleep(0.05)
        return keep(*arguments)

    def ask(_):
        together.wait()
        return worker.is_kept(numba.int32[::1])

    monkeypatch.setattr(kept, "keep", slowly)
    worker = _jit.Worker(doubled)
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(ask, range(4)))
    assert len(made) == 1


@both_kinds
def test_entries_and_workers_of_one_function_do_not_mix(new_kernel, cache):
    new_entry()
    new_worker()
    assert new_kernel()
    twin = _jit.Twin(doubled)
    twin.parallel(np.ones(2))
    assert not twin.parallel.stats.cache_hits


DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but a byte": lambda data: data[:-1],
    "garbage": lambda data: np.random.default_rng(0).bytes(len(data)),
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"<html>404 not found</html>",
    "one bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "another's pickle": lambda data: pickle.dumps(print),
}


@both_kinds
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_costs_time_and_is_mended(damage, new_kernel, cache):
    new_kernel()
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) == 1
    files[0].write_bytes(damage(files[0].read_bytes()))
    assert not new_kernel()
    assert new_kernel()


@both_kinds
def test_a_folder_that_disappears(new_kernel, cache):
    new_kernel()
    shutil.rmtree(cache)
    assert not new_kernel()
    assert new_kernel()


@both_kinds
def test_code_that_disappears(new_kernel, cache):
    new_kernel()
    for file in cache.rglob("*.nbc"):
        file.unlink()
    assert not new_kernel()
    assert new_kernel()


@both_kinds
def test_a_folder_that_cannot_be_written(new_kernel, cache):
    """Here because its parent is a file: nobody, not even root, can make it."""
    cache.write_text("a file")
    assert not new_kernel()
    assert not new_kernel()
    assert cache.read_text() == "a file"


@both_kinds
def test_files_that_cannot_be_written(new_kernel, cache):
    """Folders stand where the files would go."""
    new_kernel()
    for file in cache.rglob("*.nbc"):
        file.unlink()
        file.mkdir()
    assert not new_kernel()


def test_a_process_with_a_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    program = """
result = fastmlp.minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], optimizer="adam")
print(json.dumps(result.theta.tolist()))
"""
    process = run_process(program, blocked / "cache")
    assert process.returncode == 0, process.stderr
    assert process.stderr.startswith(ANNOUNCEMENT)
    assert process.stderr.count("\n") == 1
    expected = minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], optimizer="adam").theta
    assert json.loads(process.stdout) == expected.tolist()


@pytest.fixture
def build(cache):
    """Folder of a build made now, as a new process would find it."""

    def folder():
        cache_folder.build_hash.cache_clear()
        return _jit.cache_directory()

    yield folder
    cache_folder.build_hash.cache_clear()


def test_an_edit_of_any_kernel_source_leads_to_another_folder(tmp_path):
    """Numba itself looks at the file of the function alone, not of those it calls."""
    copies = tmp_path / "kernels"
    shutil.copytree(Path(codes.__file__).parent, copies)
    package = SimpleNamespace(__name__="fastmlp.kernels", __path__=[str(copies)])
    hashes = {cache_folder._hash_of_code(package)}
    assert hashes == {cache_folder._CODE}
    sources = [path for path in sorted(copies.rglob("*.py")) if path != copies / "__init__.py"]
    for source in sources:
        source.write_text(source.read_text() + "\n# An edit.\n")
        hashes.add(cache_folder._hash_of_code(package))
    assert len(hashes) == 1 + len(sources)


# Kernels' sources, in a package as it is installed but for all else; then as it may be packed.


def zipped(folder):
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    return folder.with_suffix(".zip")


def bytecode_alone(folder):
    compileall.compile_dir(folder, quiet=1, legacy=True)
    for source in folder.rglob("*.py"):
        source.unlink()
    return folder


def zipped_bytecode(folder):
    return zipped(bytecode_alone(folder))


def as_they_are(folder):
    return folder


@pytest.mark.parametrize("pack", [as_they_are, zipped, bytecode_alone, zipped_bytecode])
def test_an_update_in_whatever_form_leads_to_another_folder(pack, tmp_path):
    """Bytecode of the same code in the same place leads to the same one."""

    def folder_of_kernels(edit):
        package = tmp_path / "installed" / "fastmlp"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(codes.__file__).parent, package / "kernels", ignore=ignored)
        (package / "__init__.py").write_text("")
        with open(package / "kernels" / "codes.py", "a") as file:
            file.write(edit)
        packed = pack(package.parent)
        program = """
from fastmlp.kernels import _jit, codes
print(codes.__file__, _jit.cache_directory())
"""
        process = subprocess.run(
            [sys.executable, "-P", "-c", program],
            env={**os.environ, "PYTHONPATH": str(packed)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == 0, process.stderr
        loaded, folder = process.stdout.split()
        assert loaded.startswith(str(packed))
        for left in tmp_path.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return folder

    original = folder_of_kernels("")
    assert folder_of_kernels("") == original
    assert folder_of_kernels("\nAN_EDIT = 1\n") != original


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (numba.config, "BOUNDSCHECK", 1 - bool(numba.config.BOUNDSCHECK)),
        (numba.config, "OPT", 1),
        (numba, "__version__", "99.0"),
        (np, "__version__", "99.0"),
        (cache_folder, "FLAGS", {"nogil": False}),
        (cache_folder, "_CODE", "of an update"),
    ],
)
def test_other_flags_and_versions_lead_to_another_folder(where, name, value, build, monkeypatch):
    original = build()
    with monkeypatch.context() as other:
        other.setattr(where, name, value)
        assert build() != original
    assert build() == original


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "ours"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numbas"))
    assert _jit.cache_directory().parent == tmp_path / "ours"
    monkeypatch.delenv("FASTMLP_CACHE_DIR")
    assert _jit.cache_directory().parent == tmp_path / "numbas"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
        assert _jit.cache_directory().parent == tmp_path / "users" / "fastmlp"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert _jit.cache_directory().parent == tmp_path / "home" / ".cache" / "fastmlp"


# Memory


@pytest.mark.skipif(sys.platform != "linux", reason="needs mmap and mprotect")
def test_kernels_touch_nothing_beside_their_arrays():
    """Sixty random fits between pages without any access, with the bits of fits elsewhere."""
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", Path(__file__).with_name("guarded.py")],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout == "60\n"


# Other machines


needs_owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """A user without a home; returns the folder for kernels that is then used."""

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    for name in ("FASTMLP_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"fastmlp-{os.geteuid()}"


@needs_owners
def test_without_a_home_kernels_are_kept_where_no_other_user_can_write(homeless):
    assert not new_entry()
    assert new_entry()
    assert _jit.cache_directory().parent == homeless
    assert stat.S_IMODE(homeless.stat().st_mode) == 0o700


def give_away(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    to_another_user(folder, monkeypatch)


def to_another_user(path, monkeypatch):
    if os.geteuid() == 0:
        os.chown(path, 12345, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)


def open_to_all(folder, monkeypatch):
    folder.mkdir()
    folder.chmod(0o777)


def open_to_a_group(folder, monkeypatch):
    folder.mkdir()
    folder.chmod(0o775)


def a_link_of_another_user(folder, monkeypatch):
    folder.with_name("other").mkdir()
    folder.symlink_to(folder.with_name("other"))
    to_another_user(folder, monkeypatch)


def a_link_to_what_is_open(folder, monkeypatch):
    open_to_all(folder.with_name("other"), monkeypatch)
    folder.symlink_to(folder.with_name("other"))


def kernels_open_to_all(folder, monkeypatch):
    """As a process with umask 0 would make them, in a folder that is closed."""
    folder.mkdir(mode=0o700)
    open_to_all(folder / f"kernels-{cache_folder.build_hash()}", monkeypatch)


def a_file(folder, monkeypatch):
    folder.write_text("")


def no_temporary_folder(folder, monkeypatch):
    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)


SPOILED = [
    give_away,
    open_to_all,
    open_to_a_group,
    a_link_of_another_user,
    a_link_to_what_is_open,
    kernels_open_to_all,
    a_file,
]


@needs_owners
@pytest.mark.parametrize("spoil", [*SPOILED, no_temporary_folder])
def test_kernels_that_others_could_write_are_neither_kept_nor_loaded(spoil, homeless, monkeypatch):
    """A file in the cache is code that runs as this user."""
    assert not new_entry()
    shutil.rmtree(homeless)
    spoil(homeless, monkeypatch)
    assert _jit.cache_directory() is None
    assert not new_entry()
    assert not new_entry()
    assert not new_worker()


@pytest.fixture
def at_home(homeless, tmp_path, monkeypatch):
    """A user with a home; returns the folder for kernels there."""
    monkeypatch.setattr(cache_folder, "_cache_home", lambda: tmp_path / "home" / ".cache")
    return tmp_path / "home" / ".cache" / "fastmlp"


@needs_owners
@pytest.mark.parametrize("spoil", SPOILED)
def test_a_cache_folder_within_the_home_of_another_user(spoil, at_home, monkeypatch):
    """As in a session with another user's HOME, or with one in a shared folder."""
    folder = _jit.cache_directory()
    assert folder.parent == at_home
    shutil.rmtree(at_home)
    spoil(at_home, monkeypatch)
    assert _jit.cache_directory() != folder


@needs_owners
def test_kernels_are_kept_elsewhere_if_the_home_cannot_be_made(at_home, homeless):
    at_home.parents[1].write_text("a file")
    assert not new_entry()
    assert new_entry()
    assert _jit.cache_directory().parent == homeless


@needs_owners
def test_a_link_of_the_user_s_own_leads_to_the_kernels(at_home):
    """As to a larger disk."""
    there = at_home.parents[2] / "there"
    there.mkdir(mode=0o700)
    at_home.parent.mkdir(parents=True)
    at_home.symlink_to(there)
    assert not new_entry()
    assert new_entry()
    assert list(there.rglob("*.nbc"))


@pytest.fixture
def lax():
    """The umask of many a container: all that is made is open to all."""
    before = os.umask(0)
    yield
    os.umask(before)


@needs_owners
def test_folders_are_closed_to_others_whatever_the_umask(at_home, lax):
    assert not new_entry()
    assert new_entry()
    kernel = _jit.Twin(doubled).serial
    shutil.rmtree(at_home.parent)  # by somebody who tidies up while the process runs
    kernel(np.ones(2))
    assert new_entry()
    for folder in (_jit.cache_directory(), at_home, at_home.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@needs_owners
def test_a_folder_that_is_named_may_be_for_several_users(cache, lax):
    """An image's kernels may be compiled by one user and loaded by another."""
    assert not new_entry()
    assert stat.S_IMODE(_jit.cache_directory().stat().st_mode) == 0o777


def test_a_process_without_a_home_or_a_temporary_folder(tmp_path):
    """It has no home, and its temporary folders cannot be written."""
    program = """
import pathlib, tempfile

def nowhere(*arguments):
    raise RuntimeError("Could not determine home directory.")

def unusable():
    raise FileNotFoundError("No usable temporary directory found")

pathlib.Path.home, tempfile.gettempdir = nowhere, unusable
result = fastmlp.minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], optimizer="adam")
print(json.dumps(result.theta.tolist()))
"""
    process = run_process(program, "", NUMBA_CACHE_DIR="", XDG_CACHE_HOME="")
    assert process.returncode == 0, process.stderr
    assert process.stderr.startswith(ANNOUNCEMENT)
    assert "in each process" in process.stderr


# Vector lengths


def test_shorter_vectors_give_the_same_bits(tmp_path):
    """Every sum is one chain and every function a fixed polynomial, on 16 lanes or on 8."""
    features = llvmlite.binding.get_host_cpu_features()
    if not features.get("avx512f"):
        pytest.skip("the host has one vector length only")
    kept = [
        f"{'+' if has and not name.startswith('avx512') else '-'}{name}"
        for name, has in features.items()
    ]
    process = run_process(
        inspect.getsource(train_otherwise) + "print(json.dumps([train(1), *train_otherwise()]))",
        tmp_path,
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES=",".join(kept),
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == [train(1), *train_otherwise()]


on_x86 = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="about x86's kinds of processors"
)
FLUSH = """
from fastmlp.kernels import denormals
from fastmlp.kernels._jit import standalone
flush = standalone(lambda: denormals.flush_denormals())
restore = standalone(lambda before: denormals.restore_denormals(before))
restore(flush())
tiny = np.full(4, 1e-40, np.float32)
before = flush()
flushed = tiny * np.float32(1)
restore(before)
print(json.dumps(flushed.tolist()))
"""


@on_x86
@pytest.mark.parametrize(
    ("name", "features", "vector_bytes", "has_fma"),
    [
        ("nehalem", "", 16, False),
        ("sandybridge", "", 32, False),
        ("haswell", "", 32, True),
        ("haswell", "-avx", 16, False),
        ("x86-64", "+avx2", 32, False),  # which implies AVX, SSE4, ...
        ("x86-64", "+avx512f", 64, True),
        ("generic", None, 16, False),
    ],
)
def test_vectors_are_those_of_the_processor_that_numba_is_told(
    name, features, vector_bytes, has_fma, tmp_path
):
    """As Intel's manuals have them."""
    environment = {"NUMBA_CPU_NAME": name}
    if features is not None:
        environment["NUMBA_CPU_FEATURES"] = features
    program = (
        "from fastmlp.kernels import simd\nprint(json.dumps([simd.VECTOR_BYTES, simd.HAS_FMA]))"
    )
    assert run(program, tmp_path, **environment) == [vector_bytes, has_fma]


@on_x86
def test_vectors_without_avx512_where_numba_is_to_do_without(tmp_path):
    program = "from fastmlp.kernels import simd\nprint(simd.VECTOR_BYTES)"
    assert run(program, tmp_path, NUMBA_ENABLE_AVX="0") < 64


@on_x86
def test_denormals_are_flushed_whatever_features_numba_is_told(tmp_path):
    """All processors of 64 bits have the register, whether SSE2 is named or not."""
    environment = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    assert run(FLUSH, tmp_path, **environment) == [0.0] * 4


def train_otherwise():
    """Bits of networks with slices of the second layer or of X, and of a wide one."""
    rng = np.random.default_rng(3)
    for sizes, rows in (
        ((30, 100, 2), 32),
        ((20, 64, 64, 1), 64),
        ((300, 16, 5), 40),
        ((70, 1024, 30, 3), 50),
    ):
        X, y = rng.normal(size=(2 * rows, sizes[0])), rng.normal(size=(2 * rows, sizes[-1]))
        net = fastmlp.MLP(sizes, activation="tanh", seed=1)
        net.fit(X, y, epochs=2, batch_size=rows, n_threads=1, seed=2)
        yield net.theta.tobytes().hex()


def fit_everything():
    """Hashes of theta after fits of every optimizer, rates, standardized and constant fits."""
    import hashlib
    import warnings

    from functions import mini_batches
    from test_every_optimizer import ENTRIES, sine
    from test_schedules import ONE_OF_EACH

    from fastmlp.schedules import learning_rates
    from fastmlp.sklearn import MLPClassifier, MLPRegressor

    def hashed(*arrays):
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

    warnings.simplefilter("ignore")  # of fits that are not finished
    hashes = {}
    for label, entry in ENTRIES.items():
        if label == "Scipy":  # whose methods go through LAPACK
            continue
        net, X, y = sine()
        optimizer = entry.regression[0]
        options = mini_batches(optimizer, batch_size=10)
        net.fit(X, y, optimizer=optimizer, epochs=20, l2=1e-3, seed=0, **options)
        hashes[label] = hashed(net.theta)
    for schedule in ONE_OF_EACH:
        hashes[repr(schedule)] = hashed(learning_rates(schedule, 0, 100_000, 1, 100_000))
    rng = np.random.default_rng(0)
    X, weights = rng.normal(5.0, 3.0, (301, 7)), rng.uniform(1, 2, 301)
    for y, estimator in ((X.sum(axis=1), MLPRegressor), (X[:, 0] > 5, MLPClassifier)):
        for options in ({}, {"learning_rate": "invscaling", "solver": "sgd", "power_t": 0.3}):
            model = estimator(
                hidden_layer_sizes=10, max_iter=3, standardize=True, random_state=0, **options
            )
            model.fit(X, y, sample_weight=weights)
            hashes[f"{estimator.__name__} {options}"] = hashed(*model.coefs_, *model.intercepts_)
    # Numbers whose logarithms differ between NumPy's code for AVX-512 and for others.
    for value in (4.335490360366176, 1.0075249743059835, 0.9775047033587584):
        model = MLPRegressor(loss="poisson", constant="predict", random_state=0)
        hashes[f"constant {value}"] = hashed(model.fit(X[:3], [value] * 3).network_.theta)
    return hashes


@on_x86
def test_numpy_and_blas_for_another_processor_give_the_same_bits(tmp_path):
    """NumPy's functions, and BLAS, have code of their own for each kind of processor.

    They are limited to AVX2 and to the least that they run on.
    """
    dispatched = [name for name in _multiarray_umath.__cpu_dispatch__ if name in HOST_FEATURES]
    longest = [name for name in dispatched if name.startswith(("AVX512", "X86_V4"))]
    settings = [
        {},
        {"NPY_DISABLE_CPU_FEATURES": " ".join(longest), "OPENBLAS_CORETYPE": "Haswell"},
        {"NPY_DISABLE_CPU_FEATURES": " ".join(dispatched), "OPENBLAS_CORETYPE": "Nehalem"},
    ]
    search = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    program = inspect.getsource(fit_everything) + "print(json.dumps(fit_everything()))"
    cache = _jit.cache_directory().parent
    with ThreadPoolExecutor() as pool:
        processes = list(
            pool.map(lambda x: run_process(program, cache, PYTHONPATH=search, **x), settings)
        )
    assert not any(process.returncode for process in processes), processes
    found = [json.loads(process.stdout) for process in processes]
    assert found[0] == found[1] == found[2]
