"""Optical flow: .flo files, whole and broken; warps; pairs of frames that are made, whose flow must hold."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tritoncnn.data import load_data
from tritoncnn.data.clips import find_pairs, part_films, read_pair
from tritoncnn.data.flow import MAGIC, grid_of, inside, read_flo, read_flow, sampled, write_flo
from tritoncnn.data.folder import in_time
from tritoncnn.data.pans import make_pair
from tritoncnn.data.whole import WholeReader
from tritoncnn.errors import DataError


def whole_flow(right: int, down: int, size: tuple[int, int] = (6, 9)) -> np.ndarray:
    return np.broadcast_to(np.array([right, down], np.float32).reshape(2, 1, 1), (2, *size)).copy()


def test_flo_files_hold_what_was_written(tmp_path: Path) -> None:
    flow = np.random.RandomState(0).randn(2, 5, 7).astype(np.float32)
    flow[:, 2, 3] = 1e10
    (tmp_path / "a.flo").write_bytes(write_flo(flow))
    found = read_flo(tmp_path / "a.flo")
    assert np.isnan(found[:, 2, 3]).all()
    found[:, 2, 3] = flow[:, 2, 3]
    assert np.array_equal(found, flow)
    # the format by its bytes: magic, width, height, then (u, v) along rows
    data = (tmp_path / "a.flo").read_bytes()
    assert data[:4] == b"PIEH"
    assert np.frombuffer(data, "<i4", 2, 4).tolist() == [7, 5]
    assert np.frombuffer(data, "<f4", 4, 12).tolist() == [flow[0, 0, 0], flow[1, 0, 0], flow[0, 0, 1], flow[1, 0, 1]]


def broken(name: str) -> bytes:
    good = write_flo(whole_flow(1, 0))
    return {
        "magic": np.float32(202021.0).tobytes() + good[4:],
        "other byte order": np.array([MAGIC], ">f4").tobytes() + good[4:],
        "short": good[:-4],
        "long": good + b"\0" * 8,
        "head": good[:7],
        "no pixels": good[:4] + np.array([0, 6], "<i4").tobytes() + good[12:],
        "too many": good[:4] + np.array([2**30, 2**30], "<i4").tobytes() + good[12:],
        "negative": good[:4] + np.array([-9, -6], "<i4").tobytes() + good[12:],
    }[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("magic", "must begin with the number 202021.25 (the bytes PIEH) as .flo files do; got b'"),
        ("other byte order", "must begin with the number 202021.25 (the bytes PIEH) as .flo files do; got b'HEIP'"),
        ("short", "must have 444 bytes, as 9 x 6 pixels take; it has 440"),
        ("long", "must have 444 bytes, as 9 x 6 pixels take; it has 452"),
        ("head", "must have 12 bytes before its pixels; it has 7"),
        ("no pixels", "must have from 1 to 50000000 pixels; got 0 x 6"),
        ("too many", "pixels; got 1073741824 x 1073741824"),
        ("negative", "pixels; got -9 x -6"),
    ],
)
def test_broken_flo_files_are_told_in_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "a.flo").write_bytes(broken(name))
    with pytest.raises(DataError) as told:
        read_flo(tmp_path / "a.flo")
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 0), (-3, 1), (0, -2)])
def test_a_warp_by_whole_pixels_is_a_shift(right: int, down: int) -> None:
    picture = np.random.RandomState(0).rand(3, 6, 9).astype(np.float32)
    flow = whole_flow(right, down)
    seen = inside(flow)
    wanted = np.zeros_like(picture)
    for y in range(6):
        for x in range(9):
            there = 0 <= y + down < 6 and 0 <= x + right < 9
            assert seen[y, x] == there
            if there:
                wanted[:, y, x] = picture[:, y + down, x + right]
    np.testing.assert_allclose(sampled(picture, flow)[:, seen], wanted[:, seen], atol=1e-6)
    back = F.grid_sample(
        torch.from_numpy(picture)[None],
        torch.from_numpy(grid_of(flow))[None],
        padding_mode="border",
        align_corners=False,
    )[0].numpy()
    np.testing.assert_allclose(back[:, seen], wanted[:, seen], atol=1e-5)


def test_pairs_that_are_made_look_alike_along_their_flow_and_only_there() -> None:
    random = np.random.RandomState(0)
    y, x = np.mgrid[:300, :360]
    waves = [(np.sin(x / a) + np.cos(y / b)) * 60 + 128 for a, b in ((17, 23), (29, 13))]
    smooth = [Image.fromarray(np.stack([wave] * 3, -1).astype(np.uint8)) for wave in waves]
    off, unmoved, hidden = [], [], []
    for _ in range(6):
        pair = make_pair(smooth[0], smooth[1], 48, random)
        apart = np.abs(pair.now - sampled(pair.then, pair.flow)).mean(0)
        assert 0.2 < pair.seen.mean() < 1
        assert not (pair.seen & ~inside(pair.flow)).any()
        off.append(float(apart[pair.seen].mean()))
        unmoved.append(float(np.abs(pair.now - pair.then).mean(0)[pair.seen].mean()))
        hidden.append(
            float(apart[inside(pair.flow) & ~pair.seen].mean()) if (inside(pair.flow) & ~pair.seen).any() else np.nan
        )
    assert max(off) < 0.02
    assert np.mean(off) < np.mean(unmoved) / 4
    assert np.nanmean(hidden) > 4 * np.mean(off)  # what is covered would be taken for what covers it


def test_sintel_has_frames_in_folders_beside_that_of_the_flow(tmp_path: Path) -> None:
    for film in ("alley_1", "market_2"):
        write_clip(tmp_path / "mixed" / film)
        for part, end in (("clean", "png"), ("final", "png"), ("flow", "flo")):
            (tmp_path / "sintel" / "training" / part / film).mkdir(parents=True)
            for file in (tmp_path / "mixed" / film).glob(f"*.{end}"):
                (tmp_path / "sintel" / "training" / part / film / file.name).write_bytes(file.read_bytes())
    found = find_pairs(tmp_path / "sintel")
    assert len(found) == 6
    assert {files.now.parent.parent.name for files in found} == {"clean"}  # once, not once more with the fog of final
    assert [(files.now.stem, files.then.stem) for files in found[:2]] == [
        ("frame_00", "frame_01"),
        ("frame_01", "frame_02"),
    ]
    own = {"style": "strokes", "patch": 32}
    data, plain = (load_data("clips", tmp_path / name, WholeReader(), own) for name in ("sintel", "mixed"))
    assert data.fingerprint == plain.fingerprint
    for file in (tmp_path / "sintel" / "training" / "clean" / "alley_1").iterdir():
        file.unlink()
    assert {files.now.parent.parent.name for files in find_pairs(tmp_path / "sintel")} == {"clean", "final"}
    (tmp_path / "sintel" / "training" / "clean" / "market_2" / "frame_00.png").unlink()
    with pytest.raises(
        DataError, match=r"frame_00.flo needs a frame of its name, .* beside it or in clean or final beside flow"
    ):
        find_pairs(tmp_path / "sintel")


def write_kitti(flow: np.ndarray) -> bytes:
    """A PNG of f32[2,H,W], NaN where not known: KITTI's, written by hand, for Pillow writes no colours of 16 bits."""
    known = np.isfinite(flow).all(0)
    values = np.stack([*np.where(known, np.rint(np.nan_to_num(flow) * 64) + 2**15, 0), known], 2).astype(">u2")

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


def test_kittis_scenes_are_two_frames_each_with_flow_in_a_png(tmp_path: Path) -> None:
    flow = np.random.RandomState(0).randint(-500 * 64, 500 * 64, (2, 5, 7)).astype(np.float32) / 64
    flow[:, 2, 3] = np.nan
    (tmp_path / "a.png").write_bytes(write_kitti(flow))
    np.testing.assert_array_equal(read_flow(tmp_path / "a.png"), flow)
    for scene in range(5):
        write_clip(tmp_path / "frames", 2)
        for file, name in (("frame_00.png", f"{scene:06}_10.png"), ("frame_01.png", f"{scene:06}_11.png")):
            (tmp_path / "kitti" / "image_2").mkdir(parents=True, exist_ok=True)
            (tmp_path / "frames" / file).rename(tmp_path / "kitti" / "image_2" / name)
        for kind in ("flow_occ", "flow_noc"):
            (tmp_path / "kitti" / kind).mkdir(exist_ok=True)
            (tmp_path / "kitti" / kind / f"{scene:06}_10.png").write_bytes(write_kitti(whole_flow(1, 0, (40, 40))))
    found = find_pairs(tmp_path / "kitti")
    assert [file.name for file in found[3]] == ["000003_10.png", "000003_11.png", "000003_10.png"]
    assert {files.flow.parent.name for files in found} == {"flow_occ"}
    assert part_films(tmp_path, found)[2].startswith("4 films to train on, 1 to test on")
    data = load_data("clips", tmp_path / "kitti", WholeReader(), {"style": "strokes", "patch": 32})
    assert float(data.train.y["seen"].mean()) > 0.9
    (tmp_path / "kitti" / "image_2" / "000002_11.png").unlink()
    with pytest.raises(DataError, match=r"flow .*000002_10.png needs a frame after 000002_10.png; there is none"):
        find_pairs(tmp_path / "kitti")
    Image.new("RGB", (40, 40)).save(tmp_path / "kitti" / "flow_occ" / "000000_10.png")
    with pytest.raises(DataError, match=r"must be a PNG of three channels of 16 bits, as KITTI has it; got PNG, RGB"):
        read_pair(*found[0])


def write_clip(folder: Path, frames: int = 4, size: int = 40) -> None:
    """Frames that move by one pixel to the right each, with their flow."""
    folder.mkdir(parents=True, exist_ok=True)
    wide = np.random.RandomState(1).randint(0, 256, (size, size + frames, 3), np.uint8)
    for number in range(frames):
        Image.fromarray(wide[:, frames - number : frames - number + size]).save(folder / f"frame_{number:02}.png")
        if number + 1 < frames:
            (folder / f"frame_{number:02}.flo").write_bytes(write_flo(whole_flow(1, 0, (size, size))))


def test_clips_are_read_with_what_is_to_be_seen_in_both_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "a")
    pairs = find_pairs(tmp_path)
    assert [file.name for file in pairs[0]] == ["frame_00.png", "frame_01.png", "frame_00.flo"]
    pair = read_pair(*pairs[0])
    assert pair.seen[:, :-1].all()
    assert not pair.seen[:, -1].any()
    data = load_data("clips", tmp_path, WholeReader(), {"style": "strokes", "patch": 32})
    assert data.train.x.shape[1:] == (6, 32, 32)
    assert data.train.y["grid"].shape[1:] == (32, 32, 2)
    assert float(data.train.y["seen"].mean()) > 0.9


def test_frames_follow_each_other_by_their_numbers(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", 12)
    for file in sorted((tmp_path / "a").iterdir()):
        file.rename(file.with_name(f"shot{int(file.stem.removeprefix('frame_'))}{file.suffix}"))
    assert [(files.now.stem, files.then.stem) for files in find_pairs(tmp_path)] == [
        (f"shot{n}", f"shot{n + 1}") for n in range(11)
    ]
    assert [path.name for path in sorted(map(Path, ("b/1", "a10/2", "a9/10", "a9/9")), key=in_time)] == [
        "9",
        "10",
        "2",
        "1",
    ]


def test_a_flow_that_leads_nowhere_is_refused_and_one_that_seldom_does_is_asked_about(tmp_path: Path) -> None:
    def remarks() -> tuple[str, ...]:
        return load_data("clips", tmp_path, WholeReader(), {"style": "strokes", "patch": 32}).remarks

    write_clip(tmp_path / "a", 6)
    told = remarks()[-1]
    assert re.fullmatch(
        r"9.\.\d% of the pixels to train on have their colour in the next frame, 9.\.\d% of .* test on", told
    )
    files = sorted((tmp_path / "a").glob("*.flo"))
    for file in files:
        file.write_bytes(write_flo(whole_flow(-1, 0, (40, 40))))  # the way back
    assert "these are few; the flow must lead from each frame to the next" in remarks()[-1]
    for file in files:
        file.write_bytes(write_flo(np.full((2, 40, 40), 2e9, np.float32)))  # not known: no error would be found
    with pytest.raises(
        DataError, match=r"^clips: no pixel of the training frames has its colour in the next one: the flow"
    ):
        remarks()


def test_no_film_is_in_both_parts_and_no_frame_of_a_single_one_is(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", 6)
    train, test, remark = part_films(tmp_path, find_pairs(tmp_path))
    frames = [{path.name for files in part for path in files[:2]} for part in (train, test)]
    assert not frames[0] & frames[1]
    assert (len(train), len(test)) == (3, 1)
    assert remark == ("this is one film: its last 1 of 5 pairs of frames are to test on, and look much like the others")
    for name in "bc":
        write_clip(tmp_path / name, 6)
    train, test, remark = part_films(tmp_path, find_pairs(tmp_path))
    films = [{files.flow.parent.name for files in part} for part in (train, test)]
    assert films == [{"a", "b"}, {"c"}]
    assert remark == "2 films to train on, 1 to test on: the last by their names"
    write_clip(tmp_path / "short" / "a", 3)
    with pytest.raises(
        DataError, match=r"must hold 2 films, .*, or a film of at least 4 frames, .* got one with 2 flows"
    ):
        part_films(tmp_path, find_pairs(tmp_path / "short"))


def test_clips_that_do_not_fit_are_told(tmp_path: Path) -> None:
    def told(folder: Path) -> str:
        with pytest.raises(DataError) as error:
            load_data("clips", folder, WholeReader(), {"style": "strokes", "patch": 32})
        assert "\n" not in str(error.value)
        return str(error.value)

    (tmp_path / "empty").mkdir()
    assert "holds no .flo file" in told(tmp_path / "empty")
    write_clip(tmp_path / "size")
    Image.new("RGB", (40, 38)).save(tmp_path / "size" / "frame_01.png")
    assert "frame_00.flo has 40 x 40 pixels and frame" in told(tmp_path / "size")
    write_clip(tmp_path / "lone")
    (tmp_path / "lone" / "frame_03.flo").write_bytes(write_flo(whole_flow(1, 0, (40, 40))))
    assert "frame_03.flo needs a frame after frame_03.png; there is none" in told(tmp_path / "lone")
    (tmp_path / "lone" / "frame_03.flo").rename(tmp_path / "lone" / "other.flo")
    assert (
        "other.flo needs a frame of its name, as other.png, beside it or in clean or final beside flow, or in image_2"
        in told(tmp_path / "lone")
    )
    write_clip(tmp_path / "small", size=24)
    assert "frames must have at least --patch 32 pixels along each side; got 24 x 24" in told(tmp_path / "small")
