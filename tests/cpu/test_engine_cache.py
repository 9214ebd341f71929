"""The disk cache: hits skip all compiling, damage heals, unsafe folders are refused, several processes share it."""

import gc
import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import warnings

import pytest
import torch

from tests.cpu import small_kernels as kernels
from tritoncnn import cpu
from tritoncnn.cpu.run import cache, compiler, engine, objects, request
from tritoncnn.errors import CacheError

SIGNATURE = {"y_ptr": "*fp32", "x_ptr": "*fp32", "n": "i32"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache folder that does not exist yet."""
    monkeypatch.setenv("TRITONCNN_CACHE", str(tmp_path / "deep" / "cache"))
    monkeypatch.setattr(cache, "_warned", False)
    return tmp_path / "deep" / "cache"


def scale(factor=3.0):
    """A kernel as a new process would get it: nothing of it is loaded."""
    gc.collect()
    compiler._loaded.clear()
    return cpu.compile_kernel(kernels.scale, SIGNATURE, {"FACTOR": factor})


def check(kernel, factor=3.0):
    x, y = torch.arange(20.0), torch.zeros(20)
    kernel.launch((2,), (y, x, 20))
    assert torch.equal(y, factor * x)


def entries(root, room="cpu"):
    return sorted((root / room).iterdir())


def test_a_hit_runs_neither_triton_nor_llvm(root, monkeypatch):
    first = scale()
    assert not first.from_cache
    monkeypatch.setattr(request.Request, "ttir", lambda self: pytest.fail("the front end ran"))
    monkeypatch.setattr(engine, "compile_text", lambda *_: pytest.fail("LLVM ran"))
    second = scale()
    assert second.from_cache
    assert second is not first
    assert second.arguments == first.arguments
    check(second)


def test_code_from_the_cache_can_still_show_its_stages(root):
    wanted = scale().ttir
    assert scale().ttir == wanted


def test_folders_are_private_and_nothing_is_left_over(root):
    scale()
    scale(4.0)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "cpu").stat().st_mode) == 0o700
    assert [stat.S_IMODE(e.stat().st_mode) for e in entries(root)] == [0o600, 0o600]
    assert all(re.fullmatch("[0-9a-f]{64}", e.name) for e in entries(root))
    assert [stat.S_IMODE(e.stat().st_mode) for e in entries(root, "objects")] == [0o600, 0o600]


def by_triton(factor=3.0):
    """The kernel as a new process would get it from Triton's own launch."""
    kernels.scale.device_caches.clear()
    x, y = torch.arange(20.0), torch.zeros(20)
    with cpu.active():
        kernels.scale[(2,)](y, x, 20, FACTOR=factor)
    assert torch.equal(y, factor * x)


def test_the_same_llvm_ir_is_compiled_once(root, monkeypatch, tmp_path):
    """Whoever comes with it: other sources or another version of Triton (another key), or Triton's own launches."""
    monkeypatch.setattr(request, "stable", lambda value, kernel, old=request.stable: f"old {old(value, kernel)}")
    scale()
    monkeypatch.undo()
    monkeypatch.setenv("TRITONCNN_CACHE", str(root))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "first"))
    by_triton()
    monkeypatch.setattr(engine, "compile_text", lambda *_: pytest.fail("LLVM ran"))
    kernel = scale()
    assert not kernel.from_cache
    check(kernel)
    assert len(entries(root)) == 2
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "second"))
    by_triton()


def test_other_llvm_ir_another_cpu_and_another_way_to_run_llvm_have_other_objects(root, monkeypatch):
    keys = [objects._key("text"), objects._key("text ")]
    with monkeypatch.context() as patch:
        patch.setattr(objects, "_options", lambda: "other options")
        keys.append(objects._key("text"))
    monkeypatch.setenv("TRITONCNN_CPU", f"-{engine.optional_features()[0]}")
    keys.append(objects._key("text"))
    assert len(set(keys)) == 4
    monkeypatch.delenv("TRITONCNN_CPU")
    assert objects._key("text") == keys[0]


@pytest.mark.parametrize("code", [b"", b"no code", b"\x7fELF" + bytes(60)], ids=repr)
def test_an_object_with_a_right_sum_that_is_none_is_made_again(root, code):
    scale()
    (entry,), (mine,) = entries(root, "objects"), entries(root)
    good = entry.read_bytes()
    cache.DiskCache(root, "objects").put(entry.name, {}, code)
    mine.unlink()
    check(scale())
    assert entry.read_bytes() == good


DAMAGES = [
    lambda data: b"",
    lambda data: data[:10],
    lambda data: data[:-1],
    lambda data: data + b"\0",
    lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    lambda data: data[:-40] + bytes([data[-40] ^ 128]) + data[-39:],
    lambda data: b"\x80\x04" + data[2:],
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_is_made_again(root, damage):
    scale()
    (entry,), (mine,) = entries(root, "objects"), entries(root)
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    mine.unlink()
    check(scale())
    assert entry.read_bytes() == good


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_compiled_again_and_replaced(root, damage):
    scale()
    (entry,) = entries(root)
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    kernel = scale()
    assert not kernel.from_cache
    check(kernel)
    assert entry.read_bytes() == good
    assert scale().from_cache


@pytest.mark.parametrize(
    "header",
    [b"", b"{", b"\xff\xfe", b"[]", b"7", b"null", b"[" * 100_000, b"{}", b'{"key": 1}', b'{"key": "KEY"}',
     b'{"key": "KEY", "arguments": 3}', b'{"key": "KEY", "arguments": [["y_ptr", "*i8"]]}'],
    ids=lambda header: repr(header[:40]),
)  # fmt: skip
def test_an_entry_with_a_right_sum_and_a_wrong_header_is_compiled_again_and_replaced(root, header):
    scale()
    (entry,) = entries(root)
    good = entry.read_bytes()
    words = header.replace(b"KEY", entry.name.encode())
    for size in (len(words), 0, 2**32 - 1):
        payload = size.to_bytes(4, "little") + words + b"no code"
        entry.write_bytes(cache.MAGIC + hashlib.sha256(payload).digest() + payload)
        kernel = scale()
        assert not kernel.from_cache
        check(kernel)
        assert entry.read_bytes() == good


@pytest.mark.parametrize("payload", [b"", b"\0\0", b"\0" * 4], ids=repr)
def test_an_entry_without_room_for_a_header_is_a_miss(root, payload):
    scale()
    (entry,) = entries(root)
    entry.write_bytes(cache.MAGIC + hashlib.sha256(payload).digest() + payload)
    assert not scale().from_cache


@pytest.mark.parametrize("code", [b"", b"no code", b"\x7fELF" + bytes(60)], ids=repr)
def test_an_entry_with_a_right_header_and_other_bytes_for_code_is_compiled_again(root, code):
    scale()
    (entry,) = entries(root)
    good = entry.read_bytes()
    start = len(cache.MAGIC) + 32
    size = 4 + int.from_bytes(good[start : start + 4], "little")
    payload = good[start : start + size] + code
    entry.write_bytes(cache.MAGIC + hashlib.sha256(payload).digest() + payload)
    kernel = scale()
    assert not kernel.from_cache
    check(kernel)
    assert entry.read_bytes() == good


def test_an_entry_under_another_key_is_a_miss(root):
    scale(3.0)
    (three,) = entries(root)
    code = three.read_bytes()
    scale(4.0)
    (four,) = [e for e in entries(root) if e != three]
    four.write_bytes(code)
    kernel = scale(4.0)
    assert not kernel.from_cache
    check(kernel, 4.0)


def test_an_entry_that_others_could_write_is_a_miss(root):
    scale()
    (entry,) = entries(root)
    entry.chmod(0o666)
    assert not scale().from_cache
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_an_entry_that_is_a_link_or_a_pipe_is_a_miss(root, tmp_path):
    scale()
    (entry,) = entries(root)
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert not scale().from_cache
    entry.unlink()
    os.mkfifo(entry)
    assert not scale().from_cache
    assert not entry.is_symlink()
    assert entry.is_file()


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(root, inner, mode):
    scale()
    folder = root / "cpu" if inner else root
    folder.chmod(mode)
    text = f"cache folder {folder} can be written to by others (mode {mode:o}); chmod go-w it or set TRITONCNN_CACHE"
    with pytest.raises(CacheError, match="^" + re.escape(text)):
        scale()
    folder.chmod(0o755)
    assert scale().from_cache


def test_a_folder_of_another_user_is_refused(root, monkeypatch):
    scale()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    text = f"cache folder {root} belongs to user {os.getuid()}, not to you; set TRITONCNN_CACHE to a folder of your own"
    with pytest.raises(CacheError, match="^" + re.escape(text)):
        scale()


@pytest.mark.parametrize("inner", [False, True])
def test_a_linked_folder_is_refused(root, tmp_path, inner):
    scale()
    folder = root / "cpu" if inner else root
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(
        CacheError, match=re.escape(f"cache folder {folder} is a symbolic link; name the folder itself")
    ):
        scale()


def test_without_a_usable_folder_it_warns_once_and_works(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_warned", False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITONCNN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(
        RuntimeWarning, match=r"cache folder .* cannot be used \(Not a directory\); kernels are compiled"
    ):
        check(scale())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(scale(4.0), 4.0)


def test_a_full_disk_warns_and_leaves_no_half_entry(root, monkeypatch):
    class Full(io.FileIO):
        def write(self, entry):
            super().write(entry[:100])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "open", Full, raising=False)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        check(scale())
    assert entries(root) == entries(root, "objects") == []


def test_the_key_depends_on_all_that_the_code_depends_on(root, monkeypatch):
    def key(fn=kernels.scale, signature=SIGNATURE, divisible=(), **constants):
        return request.request(fn, signature, {"FACTOR": 3.0, **constants}, divisible).key

    def slot_key(slot):
        signature = {**SIGNATURE, "args": ("*fp32", "*fp32")}
        constants = {"SLOT": slot, "SIZES": (1, (2,)), "BLOCK": 16}
        return request.request(kernels.with_slot, signature, constants).key

    keys = [
        key(), key(FACTOR=3), key(FACTOR=2.0), key(BLOCK=32), key(divisible=("n",)),
        key(signature={**SIGNATURE, "n": "i64"}), slot_key(kernels.axpb), slot_key(kernels.negate), slot_key(None),
    ]  # fmt: skip
    monkeypatch.setattr(request, "sources_hash", lambda: "other sources")
    keys.append(key())
    monkeypatch.setattr(request.triton, "__version__", "99")
    keys.append(key())
    monkeypatch.setenv("TRITONCNN_CPU", f"-{engine.optional_features()[0]}")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key() == key()


def test_dumps_are_written_even_when_the_code_is_known(root, monkeypatch):
    scale()
    monkeypatch.setenv("TRITONCNN_DUMP", "ttir, llvm,asm,plan")
    scale()
    check_dumps(root / "dump")


def check_dumps(folder):
    files = {path.suffix: path.read_text() for path in folder.iterdir()}
    assert sorted(files) == [".ll", ".s", ".ttir"]
    assert len({path.stem for path in folder.iterdir()}) == 1
    assert "tt.func public @scale" in files[".ttir"]
    assert "define void @launch" in files[".ll"]
    assert "ret" in files[".s"]


def test_ordinary_launches_are_dumped_too_even_when_triton_has_the_code(root, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    x, y = torch.arange(20.0), torch.zeros(20)

    def launch():
        kernels.scale.device_caches.clear()  # as a new process would
        with cpu.active():
            kernels.scale[(2,)](y, x, 20, FACTOR=3.0)
        assert torch.equal(y, 3 * x)

    launch()
    assert not (root / "dump").exists()
    monkeypatch.setenv("TRITONCNN_DUMP", "ttir,llvm,asm")
    launch()
    check_dumps(root / "dump")


WRITERS = """
import hashlib, sys
from pathlib import Path
from tritoncnn.cpu.run.cache import DiskCache

store, me = DiskCache(Path(sys.argv[1])), sys.argv[2]
seen = set()
for turn in range(60):
    code = bytes([turn]) * (200_000 + 1000 * turn)
    store.put("k" * 64, {"writer": me, "sum": hashlib.sha256(code).hexdigest()}, code)
    header, found = store.get("k" * 64)
    assert hashlib.sha256(found).hexdigest() == header["sum"]
    seen.add(header["writer"])
print(*sorted(seen))
"""


def test_several_processes_share_a_folder(root):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITERS, str(root), str(me)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for me in range(3)
    ]
    seen = [writer.communicate()[0].split() for writer in writers]
    assert all(writer.returncode == 0 for writer in writers)
    assert max(map(len, seen)) > 1, "no process ever read what another one wrote"
    assert [e.name for e in entries(root)] == ["k" * 64]


def test_a_killed_writer_leaves_the_old_entry(root):
    kernel = scale()
    program = WRITERS.replace("60", "10**9").replace('"k" * 64', repr(kernel.request.key))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    for delay in (0.2, 0.35):
        writer = subprocess.Popen([sys.executable, "-c", program, str(root), "x"], env=environment)
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(delay)
        writer.kill()
        writer.wait()
    found = cache.DiskCache(root).get(kernel.request.key)
    assert found is not None
    check(scale())


def test_cold_starts_that_race_leave_the_same_bytes():
    """The small form of the benchmark: 8 processes, 20 starts each."""
    command = [sys.executable, "benchmarks/cold_starts.py", "--processes", "3", "--starts", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6 starts: 0 failed, 1 different results, 1 different contents of the folder\n"
