"""Sounds: the mu-law, files of many kinds and broken ones, windows, folders, and melodies that are made."""

from __future__ import annotations

import math
import re
import wave as riff
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritoncnn.data import load_data
from tritoncnn.data.define import BlankError
from tritoncnn.data.ink import read_ink
from tritoncnn.data.melodies import TEST_SEED, make_melody
from tritoncnn.data.sounds import SILENCE, SoundReader, cut_windows, decode, encode, make_sounds, read_sound, wav_bytes
from tritoncnn.errors import DataError

KINDS = [
    ("wav", "PCM_U8", 2**-6), ("wav", "PCM_16", 2**-14), ("wav", "PCM_24", 2**-22), ("wav", "PCM_32", 2**-22),
    ("wav", "FLOAT", 1e-7), ("wav", "DOUBLE", 1e-7), ("wav", "ULAW", 0.03), ("flac", "PCM_S8", 2**-6), ("flac", "PCM_16", 2**-14),
    ("flac", "PCM_24", 2**-22), ("aiff", "PCM_24", 2**-22), ("ogg", "VORBIS", 0.05),
]  # fmt: skip


def tone(samples: int, rate: int = 8000, pitch: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * math.pi * pitch * np.arange(samples) / rate)


def test_levels_are_read_as_they_were_written_and_a_sound_changes_by_less_than_a_level() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert (encode(decode(levels)) == levels).all()
    assert encode(np.zeros(1)) == SILENCE
    assert (encode(np.array([-1.0, 1.0, -7.0, 7.0])) == [0, 255, 0, 255]).all()
    wave = np.linspace(-1, 1, 10_001)
    assert (np.diff(encode(wave).astype(int)) >= 0).all()
    # half a level of the bent curve, whose slope is at most ln 256 / 255 times (1 + 255 |x|)
    bound = (1 + 255 * np.abs(wave)) * math.log(256) / 255 / 255 * 1.05 + 1e-6
    assert (np.abs(decode(encode(wave)) - wave) <= bound).all()


@pytest.mark.parametrize(("suffix", "subtype", "bound"), KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_sound_of_any_kind_is_the_mean_of_its_channels(
    tmp_path: Path, suffix: str, subtype: str, bound: float, channels: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    wave = np.stack([tone(900) * (k + 1) / channels for k in range(channels)], 1)
    soundfile.write(path, wave, 8000, subtype=subtype)
    found = read_sound(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wave.mean(1), rtol=0, atol=bound)


@pytest.mark.parametrize("rate", [4000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000, 96_000])
def test_other_rates_are_resampled_without_a_shift(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate, rate), rate, subtype="FLOAT")
    found = read_sound(tmp_path / "a.wav")
    assert abs(len(found) - 8000) <= 1
    np.testing.assert_allclose(found[500:-500], tone(len(found))[500:-500], atol=0.01)


def test_a_tone_that_8_khz_cannot_have_is_filtered_out(tmp_path: Path) -> None:
    wave = tone(44_100, 44_100) + tone(44_100, 44_100, 6000)
    soundfile.write(tmp_path / "a.wav", wave, 44_100, subtype="FLOAT")
    found = read_sound(tmp_path / "a.wav")
    np.testing.assert_allclose(found[500:-500], tone(len(found))[500:-500], atol=0.01)


def test_a_file_without_a_suffix_is_looked_into(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(99), 8000)
    (tmp_path / "a.flac").rename(tmp_path / "stdin")
    assert len(read_sound(tmp_path / "stdin")) == 99


def write(path: Path, wave: np.ndarray, rate: int = 8000) -> Path:
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return path


def spoil(folder: Path, what: str) -> Path:
    """A sound file that is broken in this way."""
    path, wave = folder / "a.wav", tone(900)
    if what == "missing":
        return path
    if what == "no samples":
        return write(path, wave[:0])
    if what == "silent":
        return write(path, np.zeros(900))
    if what == "opposite channels":
        return write(path, np.stack([wave, -wave], 1))
    if what in ("nan", "inf"):
        wave[7] = math.nan if what == "nan" else math.inf
        return write(path, wave)
    if what == "too loud":
        return write(path, wave * 32768)
    if what == "slow":
        return write(path, wave, 200)
    data = {"no bytes": b"", "text": b"this is no sound\n" * 20, "header": wav_bytes(wave.astype(np.float32))[:20]}
    if what == "cut":
        data["cut"] = wav_bytes(wave.astype(np.float32))[:-200]
    if what == "cut flac":
        soundfile.write(folder / "a.flac", np.random.RandomState(0).uniform(-0.5, 0.5, 9000), 8000)
        path = folder / "a.flac"
        data["cut flac"] = path.read_bytes()[:-6000]
    if what == "folder":
        path.mkdir()
        return path
    path.write_bytes(data[what])
    return path


BROKEN = {
    "missing": "does not exist$",
    "no samples": "is empty: it has 0 samples$",
    "silent": "is silent: all its samples are of one level$",
    "opposite channels": "is silent: all its samples are of one level once its channels are added$",
    "nan": "must hold finite numbers; 1 of 900 samples are not, the first is sample 7$",
    "inf": "must hold finite numbers; 1 of 900 samples are not, the first is sample 7$",
    "too loud": "must hold samples from -1 to 1; the loudest is 16384$",
    "slow": "must have from 1000 to 768000 samples a second; got 200$",
    "no bytes": "is empty: it has no bytes$",
    "text": "cannot be read: .*format not recognised$",
    "header": "cannot be read: ",
    "cut": "is cut short: 800 samples of each channel are left$",
    "cut flac": "(is cut short|cannot be read)",
    "folder": "cannot be read: Is a directory$",
}


@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_is_read_where_the_library_can(tmp_path: Path, channels: int) -> None:
    wave = np.stack([tone(16_000) * (k + 1) / channels for k in range(channels)], 1)
    soundfile.write(tmp_path / "a.mp3", wave, 8000)
    found = read_sound(tmp_path / "a.mp3")
    assert len(found) == 16_000
    np.testing.assert_allclose(found[1000:-1000], wave.mean(1)[1000:-1000], rtol=0, atol=0.08)  # what MP3 loses


def test_mp3_that_is_cut_or_that_no_library_reads_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(16_000), 8000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.mp3 is cut short: "):
        read_sound(path)
    path.write_bytes(b"no sound")
    monkeypatch.setattr(soundfile, "available_formats", dict)
    with pytest.raises(
        DataError, match=r"a\.mp3 cannot be read: soundfile has a library here that reads no MP3 \(libsndfile"
    ):
        read_sound(path)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_sound_is_one_sentence(tmp_path: Path, what: str) -> None:
    path = spoil(tmp_path, what)
    with pytest.raises(DataError, match=f"^sound {re.escape(str(path))} {BROKEN[what]}") as caught:
        read_sound(path)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, BlankError) == (what in ("silent", "opposite channels"))


def test_floats_a_little_too_loud_are_cut(tmp_path: Path) -> None:
    assert np.abs(read_sound(write(tmp_path / "a.wav", tone(900) * 3))).max() == 1.0
    with pytest.raises(DataError, match=r"must hold samples from -1 to 1; the loudest is 2.5$"):
        read_sound(write(tmp_path / "b.wav", np.array([0.0, 2.5, -1.0])))


def test_what_is_written_is_what_was_made(tmp_path: Path) -> None:
    wave = tone(500).astype(np.float32)
    (tmp_path / "a.wav").write_bytes(wav_bytes(wave))
    np.testing.assert_allclose(read_sound(tmp_path / "a.wav"), wave, atol=2**-14)
    with riff.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)


@pytest.mark.parametrize("samples", [1, 9, 10, 11, 25])
def test_windows_hold_each_sample_once_behind_its_context(samples: int) -> None:
    levels = np.arange(1, samples + 1, dtype=np.uint8)
    windows, there = cut_windows(levels, 4, 10)
    assert windows.shape == (-(-samples // 10), 14)
    assert (windows[:, 4:][there] == levels).all()
    assert (windows[0, :4] == SILENCE).all()
    for row in range(1, len(windows)):
        assert (windows[row, :4] == windows[row - 1, -4:]).all()
    assert (windows[:, 4:][~there] == SILENCE).all()


def test_a_folder_of_sounds_is_parted_by_file_and_silence_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for number in range(5):
        write(tmp_path / ("more" if number % 2 else "") / f"{number}.wav", tone(100 + number, pitch=300 + 100 * number))
    write(tmp_path / "silent.wav", np.zeros(50))
    (tmp_path / "notes.txt").write_text("no sound")
    data = load_data("sounds", tmp_path, SoundReader(), {"window": 64, "context": 8})
    assert (data.note["train_sounds"], data.note["test_sounds"]) == (4, 1)
    assert data.remarks == (f"left out: 1 silent, as {tmp_path / 'silent.wav'}",)
    assert int(data.train.y.sum() + data.test.y.sum()) == sum(range(100, 105))
    again = load_data("sounds", tmp_path, SoundReader(), {"window": 64, "context": 8})
    assert again.fingerprint == data.fingerprint


def test_a_folder_of_too_few_sounds_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no sound \(\.wav, "):
        load_data("sounds", tmp_path, SoundReader())
    write(tmp_path / "a.wav", tone(100))
    with pytest.raises(DataError, match="must hold at least 2 sounds that are not silent.*got 1$"):
        load_data("sounds", tmp_path, SoundReader())
    (tmp_path / "b.wav").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b\.wav cannot be read"):
        load_data("sounds", tmp_path, SoundReader())
    for name in ("sounds", "melodies"):
        with pytest.raises(DataError, match=f"^data set '{name}' holds sounds; the task reads pictures$"):
            load_data(name, tmp_path if name == "sounds" else None, read_ink)


def test_melodies_are_made_alike_each_time_and_differ() -> None:
    first = make_melody(0, 0.5)
    assert first.shape == (4000,)
    assert (first == make_melody(0, 0.5)).all()
    others = [make_melody(seed, 0.5) for seed in (1, 2, TEST_SEED)]
    assert all(np.abs(first - other).max() > 0.1 for other in others)
    assert all(0.5 < np.abs(wave).max() < 1 for wave in (first, *others))


def test_a_data_set_tells_its_seconds() -> None:
    data = make_sounds("toy", [make_melody(0, 0.5)], [make_melody(1, 0.25)], 8, 64)
    assert (data.note["train_seconds"], data.note["test_seconds"]) == (0.5, 0.2)
    assert data.train.x.shape == (63, 72)
