"""Nets that paint in one style: a step beside torch, written anew; the whole road; any size; the flicker that is measured."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result
from PIL import Image

from tests.computing import Computing, assert_as_near_as_torch
from tests.data.test_flow import write_clip
from tests.style import by_hand
from tests.train.runs import StopAt, assert_same_run
from tritoncnn.commands import main
from tritoncnn.data import clips, load_data
from tritoncnn.data.canvas import NOTHING, grams_of, new_features
from tritoncnn.data.whole import WholeReader
from tritoncnn.models.style_net import StyleNet
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.painting import style_of, to_image
from tritoncnn.tasks.videostyle import error_of, warping_error
from tritoncnn.tasks.videostyle import losses as losses_of
from tritoncnn.train import Interrupted, Options, resume, train
from tritoncnn.train.training_step import TrainingStep

VIDEO = find_task("videostyle")
TINY = {"channels": 4, "blocks": 1, "patch": 32, "batch_size": 2, "epochs": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clips")
    write_clip(place / "film")
    return place


@pytest.fixture(autouse=True, scope="module")
def few() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "TRAIN", 6)
        patch.setattr(clips, "TEST", 2)
        yield


def options(folder: Path) -> Options:
    return Options.of(VIDEO, data="clips", data_dir=str(folder / "film"), **TINY)


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return train(options(folder), folder / "run").run


def net_by_hand(x: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """Johnson's net from its weights, of sides that 4 divides."""

    def layer(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        w = state[f"{name}.conv.weight"]
        x = F.conv2d(F.pad(x, [w.shape[2] // 2] * 4, mode="reflect"), w, state.get(f"{name}.conv.bias"), stride)
        if f"{name}.norm.weight" not in state:
            return x
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
        scale, shift = (state[f"{name}.norm.{what}"].reshape(-1, 1, 1) for what in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    for number, stride in enumerate((1, 2, 2)):
        x = layer(x, f"down.{number}", stride).clamp(min=0)
    x = x + layer(layer(x, "blocks.0.first").clamp(min=0), "blocks.0.second")
    for number in range(2):
        x = layer(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"rise.{number}").clamp(min=0)
    return 1 / (1 + torch.exp(-layer(x, "last")))


def test_losses_and_all_gradients_of_a_step_are_torchs_and_only_kernels_compute(folder: Path) -> None:
    told = options(folder)
    data = load_data("clips", folder / "film", WholeReader(), told.own)
    batch = data.train.take(slice(2))
    y = {name: [g.clone() for g in v] if isinstance(v, list) else v.clone() for name, v in batch.y.items()}
    step = TrainingStep(told, told.build_model(NOTHING), NOTHING, batch.x.clone(), y)
    state = {name.removeprefix("model."): tensor.double().requires_grad_() for name, tensor in step.nets().items()}
    frames = batch.x.double().reshape(4, 3, 32, 32)
    outputs = net_by_hand(frames, state)
    grams = [g.double().repeat_interleave(2, 0) for g in y["style"]]
    losses = by_hand.losses(outputs, frames, grams, new_features())
    now, then = outputs[0::2], outputs[1::2]
    back = F.grid_sample(then, y["grid"].double(), padding_mode="border", align_corners=False)
    warp = ((now - back).square().mean(1, keepdim=True) * y["seen"]).sum() / y["seen"].sum()
    total = 100 * losses["style"] + 10 * losses["content"] + 10 * losses["variation"] + 1000 * warp
    total.backward()
    net = StyleNet(TINY["channels"], TINY["blocks"])
    net.load_state_dict({name: tensor.detach().float() for name, tensor in state.items()})
    values = {"style_weight": 100.0, "content_weight": 10.0, "variation_weight": 10.0, "temporal": 1000.0}
    nets = SimpleNamespace(model=net, features=new_features())
    single = losses_of(values)(nets, SimpleNamespace(x=batch.x, y=y))
    single["loss"].backward()
    found = step(batch.x, y)
    wanted = {"loss": total, "style": losses["style"], "content": losses["content"], "warp": warp}
    for name, value in wanted.items():
        assert_as_near_as_torch(name, torch.tensor(found[name]), single[name].detach(), value.detach())
    gradients = step.compiled.gradients()
    for name, parameter in net.named_parameters():
        exact = state[name].grad
        assert exact is not None
        assert parameter.grad is not None
        assert_as_near_as_torch(name, gradients[f"model.{name}"], parameter.grad, exact)
    with Computing() as computing:
        step(batch.x, y)
    assert set(computing.seen) == {"aten::_local_scalar_dense"}  # the losses as numbers


def test_a_run_on_clips_is_told_drawn_resumed_to_the_same_bits_and_paints_any_size(
    run: Path, folder: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [set(VIDEO.columns) == set(row) for row in rows] == [True, True]
    assert Image.open(run / "painted.png").size[0] > 200
    with pytest.raises(Interrupted):
        train(options(folder), tmp_path / "run", StopAt(2))
    resume(VIDEO, tmp_path / "run", {})
    assert_same_run(tmp_path / "run", run)
    picture = tmp_path / "odd.png"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (30, 41, 3), np.uint8)).save(picture)
    Image.new("RGB", (10, 40)).save(tmp_path / "small.png")
    words = ["infer", run, picture, tmp_path / "small.png", "--out", tmp_path / "out"]
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == 1, result.output
    assert "small.png must have at least 20 pixels along each side; it has 10 x 40" in result.stderr
    assert Image.open(tmp_path / "out" / "odd-answer.png").size == (41, 30)


def test_frames_are_painted_each_for_itself_and_odd_sides_are_kept() -> None:
    torch.manual_seed(0)
    net = StyleNet(4, 1)
    x = torch.rand(2, 6, 23, 30)
    found = net(x)
    assert found.shape == x.shape
    torch.testing.assert_close(found[:, 3:], net(x[:, 3:]))
    assert 0 <= float(found.detach().min()) <= float(found.detach().max()) <= 1


def test_the_warping_error_is_that_of_a_hand_made_warp_over_what_is_seen() -> None:
    torch.manual_seed(0)
    now, then = torch.rand(1, 3, 5, 6), torch.rand(1, 3, 5, 6)
    y, x = np.mgrid[:5, :6]
    grid = torch.from_numpy(np.stack([(2 * (x + 2) + 1) / 6 - 1, (2 * (y - 1) + 1) / 5 - 1], -1)).float()[None]
    seen = torch.zeros(1, 1, 5, 6)
    seen[0, 0, 1:, :4] = 1
    wanted = (now[:, :, 1:, :4] - then[:, :, :-1, 2:]).square().mean()
    torch.testing.assert_close(warping_error(now, then, grid, seen), wanted)
    targets = {"grid": grid, "seen": seen}
    assert error_of(torch.cat([now, then], 1), targets) == pytest.approx(float(wanted), rel=1e-5)
    assert float(warping_error(now, then, grid, seen * 0)) == 0


def test_the_style_itself_has_next_to_no_style_loss() -> None:
    from tritoncnn.data.colour import to_array
    from tritoncnn.data.whole import open_named

    style = torch.from_numpy(to_array(open_named("strokes")))[None]
    targets = {"style": grams_of("strokes")}
    assert style_of(style, targets) < 1e-6
    assert style_of(1 - style, targets) > 0.1
    assert to_image(style[0]).tobytes() == open_named("strokes").tobytes()


def stylise(*words: object) -> Result:
    return CliRunner().invoke(main, ["stylise", *map(str, words)])


def frames_of(count: int) -> list[Image.Image]:
    random = np.random.RandomState(0)
    return [Image.fromarray(random.randint(0, 256, (30, 41, 3), np.uint8)) for _ in range(count)]


def test_films_are_painted_into_folders_and_videos_of_their_rate(run: Path, tmp_path: Path) -> None:
    film, first, *more = tmp_path / "film", *frames_of(3)
    film.mkdir()
    names = ("frame9", "frame10", "frame11")  # by their numbers
    for name, frame in zip(names, [first, *more], strict=True):
        frame.save(film / f"{name}.bmp")
    result = stylise(run, film, "--out", tmp_path / "painted", "--json")
    assert result.exit_code == 0, result.output
    note = json.loads(result.stdout)
    assert (note["frames"], note["size"]) == (3, [41, 30])
    painted = [np.asarray(Image.open(tmp_path / "painted" / f"{name}.png"), np.float64) / 255 for name in names]
    wanted = np.mean([np.abs(a - b).mean() for a, b in pairwise(painted)])
    assert note["painted_change"] == pytest.approx(wanted, rel=1e-5)
    first.save(tmp_path / "film.gif", save_all=True, append_images=more, duration=120, loop=0)
    result = stylise(run, tmp_path / "film.gif", "--out", tmp_path / "painted.gif")
    assert result.exit_code == 0, result.output
    assert "3 frames of 41 x 30 pixels" in result.stdout
    with Image.open(tmp_path / "painted.gif") as video:
        assert video.size == (40, 30)
        assert (getattr(video, "n_frames", 1), video.info["duration"]) == (3, 120)
    result = stylise(run, film, "--out", tmp_path / "of-folder.gif")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "of-folder.gif") as video:
        assert (getattr(video, "n_frames", 1), video.info["duration"]) == (3, 40)


def test_transparent_frames_lie_on_one_ground(run: Path, tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    clear = [Image.fromarray(np.full((30, 40, 4), (grey, grey, grey, 0), np.uint8)) for grey in (10, 240)]
    for frame in clear:
        frame.putpixel((0, 0), (*frame.getpixel((0, 0))[:3], 255))  # type: ignore[index]
        frame.save(tmp_path / "film" / f"{len(list((tmp_path / 'film').iterdir()))}.png")
    clear[0].save(tmp_path / "film.gif", save_all=True, append_images=clear[1:], duration=100, disposal=2)
    for name in ("film", "film.gif"):
        result = stylise(run, tmp_path / name, "--out", tmp_path / f"painted-{name}", "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["change"] < 0.01  # of one pixel: the ground stays


def test_no_frame_is_painted_over_another(run: Path, tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.mkdir()
    for name, frame in zip(("a.bmp", "a.png"), frames_of(2), strict=True):
        frame.save(film / name)
    given = (film / "a.png").read_bytes()
    result = stylise(run, film, "--out", film)
    assert result.exit_code == 2
    assert "is the film itself; name another place" in result.stderr
    assert (film / "a.png").read_bytes() == given
    result = stylise(run, film, "--out", tmp_path / "painted")
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in (tmp_path / "painted").iterdir()) == ["a.png", "a.png.png"]


def test_a_video_is_there_once_it_is_whole(run: Path, tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    for number, frame in enumerate(frames_of(2)):
        frame.resize((41 - number, 30)).save(tmp_path / "film" / f"{number}.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "film.gif").write_text("what was there before")
    result = stylise(run, tmp_path / "film", "--out", tmp_path / "out" / "film.gif")
    assert result.exit_code == 2
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["film.gif"]
    assert (tmp_path / "out" / "film.gif").read_text() == "what was there before"


def test_a_folder_of_frames_is_looked_through_before_any_is_painted(run: Path, tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.mkdir()
    for number, frame in enumerate(frames_of(2)):
        frame.save(film / f"{number}.png")
    (film / "2.png").write_bytes(b"")
    for said in ("2.png cannot be read: it is empty", "2.png of", "holds no picture"):
        result = stylise(run, film, "--out", tmp_path / "painted")
        assert (result.exit_code, said in result.stderr) == (2, True), result.output
        assert not (tmp_path / "painted").exists()
        frames_of(1)[0].resize((30, 30)).save(film / "2.png")
        if said == "2.png of":
            for file in film.iterdir():
                file.unlink()
    frames_of(1)[0].save(film / "0.png")
    result = stylise(run, film, "--out", tmp_path / "painted.xyz")
    assert (result.exit_code, "must be a folder, or a video file that ends in" in result.stderr) == (2, True)


def test_what_else_lies_in_the_folder_is_told_and_painted_frames_are_no_film(run: Path, tmp_path: Path) -> None:
    film, frames = tmp_path / "film", frames_of(4)
    film.mkdir()
    for number, frame in enumerate(frames):
        frame.save(film / f"{number}.png")
    for count in (4, 1):
        result = stylise(run, film, "--out", film / "painted")
        assert result.exit_code == 0, result.output
        assert f"{count} frame" in result.stdout
        assert ("not of this film" in result.stdout) == (count == 1)
        for file in film.glob("[123].png"):
            file.unlink()
    assert (
        f"3 pictures in {film / 'painted'} are not of this film, as after a longer one: 1.png, 2.png, 3.png"
        in result.stdout
    )


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm"])
def test_the_sound_of_a_video_is_kept_where_the_painted_one_can_hold_it(run: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="the extra video")
    import imageio.v2
    import imageio.v3
    import soundfile

    soundfile.write(tmp_path / "sound.wav", np.sin(np.arange(4000) / 5), 8000)
    film, painted = tmp_path / f"film.{kind}", tmp_path / f"painted.{kind}"
    codecs = {"codec": "libvpx-vp9", "audio_codec": "libopus"} if kind == "webm" else {"audio_codec": "aac"}
    with imageio.v2.get_writer(
        film, fps=10, macro_block_size=2, audio_path=str(tmp_path / "sound.wav"), **codecs
    ) as writer:
        for frame in frames_of(5):
            writer.append_data(np.asarray(frame)[:, :40])
    result = stylise(run, film, "--out", painted, "--json")
    assert result.exit_code == 0, result.output
    note = json.loads(result.stdout)
    assert (note["frames"], note["sound"], note["remarks"]) == (5, True, [])
    heard = imageio.v3.immeta(painted, exclude_applied=False)["audio_codec"]
    assert heard.rstrip(",") == ("opus" if kind == "webm" else "aac")
    result = stylise(run, film, "--out", tmp_path / "painted.gif")
    assert result.exit_code == 0, result.output
    assert f"the sound of {film} is left out: a GIF has none" in result.stdout


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm"])
def test_videos_by_ffmpeg_hold_every_frame_at_their_rate(run: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="the extra video")
    import imageio.v3

    (tmp_path / "film").mkdir()
    for number, frame in enumerate(frames_of(3)):
        frame.save(tmp_path / "film" / f"{number}.png")
    first, second = tmp_path / f"first.{kind}", tmp_path / f"second.{kind}"
    for words in ((tmp_path / "film", "--out", first), (first, "--out", second)):
        result = stylise(run, *words)
        assert result.exit_code == 0, result.output
    assert imageio.v3.immeta(second)["fps"] == 25
    assert [frame.shape for frame in imageio.v3.imiter(second)] == [(30, 40, 3)] * 3
    first.write_bytes(first.read_bytes()[:200])
    result = stylise(run, first, "--out", second)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "it may be empty, cut short or no video" in result.stderr


def test_films_that_cannot_be_painted_are_told_in_one_sentence(run: Path, tmp_path: Path) -> None:
    for name in ("mixed", "empty"):
        (tmp_path / name).mkdir()
    for number, frame in enumerate(frames_of(2)):
        frame.resize((41 - number, 30)).save(tmp_path / "mixed" / f"{number}.png")
    (tmp_path / "broken.gif").write_text("no film")
    (tmp_path / "broken.mp4").write_text("no film")
    (tmp_path / "film.txt").write_text("no film")
    for words, sentence in (
        (["mixed"], "frame 1.png of"),
        (["mixed"], "has 40 x 30 pixels, and those before it have another size; all frames of a film must be alike"),
        (["empty"], "empty holds no picture"),
        (["broken.gif"], "broken.gif cannot be read"),
        (["broken.mp4"], "broken.mp4 cannot be read"),
        (["film.txt"], "film.txt must be a folder of frames, or a video file that ends in one of .gif, .mp4"),
        (["gone"], "gone does not exist; wanted a folder of frames or a video file"),
        (["mixed", "--size", "10"], "--size must be from 20 to 2048; got 10"),
    ):
        place = tmp_path / "out" / ("painted.mp4" if "." in words[0] else "painted")
        result = stylise(run, tmp_path / words[0], *words[1:], "--out", place)
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
        assert result.stderr.startswith("tritoncnn: error: ")
        assert result.stderr.count("\n") == 1
