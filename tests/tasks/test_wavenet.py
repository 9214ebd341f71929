"""WaveNet: what it hears, its gradients beside torch's, its stream beside the net asked anew, and the road to a sound."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from torch.nn import functional as F

import tritoncnn
from tests.computing import Computing, assert_as_near_as_torch
from tests.train.runs import StopAt, assert_same_run
from tritoncnn.commands import main
from tritoncnn.data import Examples, Facts
from tritoncnn.data.melodies import make_melody
from tritoncnn.data.sounds import SILENCE, cut_windows, encode, read_sound
from tritoncnn.errors import DataError, InputError
from tritoncnn.models.wavenet import WaveNet, dilated
from tritoncnn.music import Composing, compose_of_run
from tritoncnn.optim import Adam
from tritoncnn.streaming import Player
from tritoncnn.task import Task
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds import levels
from tritoncnn.tasks.kinds.levels import bits, loss
from tritoncnn.tasks.kinds.markov import markov_bits
from tritoncnn.train import Interrupted, Options, predict, resume, train

FACTS = Facts((), (), ())
DILATIONS, CONTEXT, WINDOW = (1, 2, 1), 5, 24
SIZES = {"layers": 2, "stacks": 1, "residual": 8, "skip": 8}  # of the runs: dilations 1 and 2
RUN_CONTEXT = 4


def tiny(seed: int = 0) -> WaveNet:
    torch.manual_seed(seed)
    return WaveNet(DILATIONS, 8, 8)


def windows(count: int) -> torch.Tensor:
    return torch.from_numpy(cut_windows(encode(make_melody(3, 0.1)), CONTEXT, WINDOW)[0][4 : 4 + count].copy())


@pytest.mark.parametrize(("layers", "stacks"), [(1, 1), (3, 1), (2, 3), (10, 3)])
def test_the_context_is_what_the_layers_reach(layers: int, stacks: int) -> None:
    assert WaveNet(dilated(layers, stacks), 1, 1).context == stacks * (2**layers - 1) + 1


def test_a_sample_hears_its_context_and_nothing_after_it() -> None:
    net, x = tiny(), windows(1)
    with torch.no_grad():
        told = net.logits(x[:, :-1].long())
        for place in range(x.shape[1] - 1):
            other = x[:, :-1].long().clone()
            other[0, place] = (other[0, place] + 100) % 256
            changed = (net.logits(other) != told).any(1)[0].nonzero()[:, 0].tolist()
            # The logits for sample CONTEXT + j hear the samples j to CONTEXT + j - 1.
            assert changed == list(range(max(0, place - CONTEXT + 1), min(WINDOW, place + 1)))


def by_hand(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What the net says, by matrix products alone, with zeros before the window, whose answers are then left out."""
    levels, total = x.long(), 0.0
    h = weights["embed.weight"][levels[:, :-1]].double()  # f64[N,T,R]
    for i, d in enumerate(DILATIONS):
        at = f"layers.{i}"
        past = torch.cat([torch.zeros_like(h[:, :d]), h[:, :-d]], 1)
        gate = weights[f"{at}.gate.weight"].double()
        both = past @ gate[..., 0].t() + h @ gate[..., 1].t() + weights[f"{at}.gate.bias"]
        z = both[..., :8].tanh() * both[..., 8:].sigmoid()
        total = total + z @ weights[f"{at}.skip.weight"][..., 0].double().t() + weights[f"{at}.skip.bias"]
        h = h + z @ weights[f"{at}.residual.weight"][..., 0].double().t() + weights[f"{at}.residual.bias"]
    for name in ("head", "last"):
        total = total.relu() @ weights[f"{name}.weight"][..., 0].double().t() + weights[f"{name}.bias"]
    chances = total.log_softmax(2)[:, CONTEXT - 1 :]
    return -chances.gather(2, levels[:, CONTEXT:, None])[..., 0]


def test_one_step_is_computed_by_our_kernels_and_agrees_with_torch() -> None:
    net, x = tiny(), windows(4)
    there = torch.ones(4, WINDOW, dtype=torch.bool)
    there[1, 10:] = False
    weights = {name: t.double().requires_grad_() for name, t in net.state_dict().items()}
    expected = by_hand(weights, x)[there].mean()
    expected.backward()
    torchs = loss(net(x), there)
    torchs.backward()
    single = {name: parameter.grad for name, parameter in net.named_parameters()}
    step = tritoncnn.compile_step(net, loss, Adam(0.001), (x, there), seed=0)
    with Computing() as mode:
        value = step(x, there)
        assert not mode.seen
    assert_as_near_as_torch("loss", value, torchs.detach(), expected.detach())
    for name, gradient in step.gradients().items():
        wanted = weights[name].grad
        if wanted is None:  # the last layer's residual goes nowhere
            assert name.startswith("layers.2.residual")
            continue
        torchs_own = single[name]
        assert torchs_own is not None
        assert_as_near_as_torch(name, gradient, torchs_own, wanted)
    state = step.state_dict()
    outputs, moved = step.model(example=x)(x), by_hand(state, x)
    with torch.no_grad():
        assert_as_near_as_torch("outputs", outputs, WaveNet.of(state)(x), moved)
    assert bits(outputs, there) == float(outputs[there].double().mean()) / math.log(2)


def draw_anew(net: WaveNet, given: torch.Tensor, samples: int, temperature: float, seed: int) -> torch.Tensor:
    """What the player should play: the whole context heard anew for each sample."""
    uniform = torch.rand(samples, generator=torch.Generator().manual_seed(seed))
    sound = torch.full((net.context + samples,), SILENCE)
    sound[net.context : net.context + len(given)] = given.long()
    for place in range(net.context + len(given), len(sound)):
        with torch.no_grad():
            logits = net.logits(sound[None, place - net.context : place])[0, :, 0].double()
        sums = (logits / temperature).softmax(0).cumsum(0)
        sound[place] = int((sums <= uniform[place - net.context] * sums[-1]).sum())
    return sound[net.context :]


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(tiny().eval(), 64, SILENCE)


@pytest.mark.parametrize(
    ("heard", "temperature", "seed"), [(0, 1.0, 0), (0, 0.7, 1), (9, 0.3, 2), (64, 1.0, 3), (3, 0.01, 4)]
)
def test_a_stream_draws_the_samples_that_the_net_asked_anew_draws(
    player: Player, heard: int, temperature: float, seed: int
) -> None:
    given = windows(4).reshape(-1)[:heard]
    played = player.play(given, 64, temperature, seed)
    assert torch.equal(played.levels[:heard], given)
    assert torch.equal(played.levels.long(), draw_anew(tiny().eval(), given, 64, temperature, seed))
    assert torch.equal(played.levels, player.play(given, 64, temperature, seed).levels)


def test_a_stream_gives_the_logits_of_the_net_within_rounding(player: Player) -> None:
    given = windows(2).reshape(-1)[:48]
    player.play(given[:0], 1, 1.0, 0)
    stream = player.stream
    stream.time.zero_()
    stream.rings.zero_()
    stream.level.fill_(SILENCE)
    stream.heard.fill_(CONTEXT + 48)
    stream.sound[CONTEXT : CONTEXT + 48] = given
    found = torch.cat([player.model() for _ in range(CONTEXT + 48)])[CONTEXT:]
    padded = torch.cat([torch.full((CONTEXT,), SILENCE), given.long()])
    with torch.no_grad():
        wanted = tiny().eval().logits(padded[None, :-1])[0].t()
    # Sums of at most 3 * 8 products each, in another order, through 5 layers of values of about 1.
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_stream_touches_one_place_of_each_ring_and_copies_none(player: Player) -> None:
    calls = player.model.plan.calls
    assert [call.node.op for call in calls].count("write") == 2  # all rings, and the sound
    rings = player.stream.rings.numel()
    assert all(
        call.node.op in ("write", "take") for call in calls if any(v.type.numel == rings for v in call.node.operands)
    )


def test_other_seeds_make_other_sounds(player: Player) -> None:
    sounds = [player.play(torch.zeros(0, dtype=torch.uint8), 64, 1.0, seed).levels for seed in range(3)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(sounds, 2))


def test_markov_models_agree_with_counting_by_hand() -> None:
    random = np.random.RandomState(0)
    parts = []
    for samples in (300, 60):
        line = (random.randint(0, 4, samples) * 60).astype(np.uint8)
        x, there = cut_windows(line, 8, 50)
        parts.append(Examples(torch.from_numpy(x), torch.from_numpy(there)))
    spans = [[(*row[-50 - 3 + j : -50 + j or None], row[8 + j]) for row, ok in zip(p.x.tolist(), p.y.tolist(), strict=True)
              for j in range(50) if ok[j]] for p in parts]  # fmt: skip

    def chance(order: int, span: tuple[int, ...]) -> float:
        if order < 0:
            return 1 / 256
        followers = Counter(s[-1] for s in spans[0] if s[3 - order : 3] == span[3 - order : 3])
        if not followers:
            return chance(order - 1, span)
        kinds, total = len(followers), sum(followers.values())
        return (followers[span[-1]] + kinds * chance(order - 1, span)) / (total + kinds)

    wanted = [-np.mean([math.log2(chance(order, span)) for span in spans[1]]) for order in range(4)]
    np.testing.assert_allclose(markov_bits(*parts), wanted, rtol=1e-12)


def options_for(folder: Path, **more: object) -> Options:
    given = {"data": "sounds", "data_dir": str(folder), "window": WINDOW, "context": RUN_CONTEXT, **SIZES}
    return Options.of(task(), **(given | {"epochs": 2, "batch_size": 4, "hold_out_sounds": 0.5} | more))


def task() -> Task:
    return find_task("wavenet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three sounds, whose pictures show a twentieth of a second."""
    folder = tmp_path_factory.mktemp("wavenet")
    (folder / "sounds").mkdir()
    for seed in range(3):
        soundfile.write(folder / "sounds" / f"{seed}.flac", make_melody(seed, 0.06), 8000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "SHOWN", 400)
        train(options_for(folder / "sounds"), folder / "run")
    return folder / "run"


def test_a_run_writes_sounds_and_their_spectrograms_and_tells_its_baseline(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["files"]) == {"curves.png", *levels.MADE}
    assert (run / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    for name in levels.MADE[1:]:
        assert len(read_sound(run / name)) == 400
    assert 0 < summary["metrics"]["bits"] < 8.5
    assert "Markov" in summary["baseline"]["by"]


def test_a_run_that_was_stopped_ends_with_the_same_bits(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "SHOWN", 400)
    with pytest.raises(Interrupted):
        train(options_for(run.parent / "sounds"), tmp_path / "run", StopAt(3))
    resume(task(), tmp_path / "run", {})
    assert_same_run(tmp_path / "run", run)
    for name in levels.MADE:
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_a_net_that_hears_more_than_the_context_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="--context must be at least the 8 samples that a net of --layers 3 and --stacks 1 hears"
    ):
        train(options_for(run.parent / "sounds", layers=3), tmp_path / "run")


def test_infer_tells_bits_of_sounds_of_any_length_and_passes_over_broken_ones(run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", make_melody(9, 2.3), 8000)
    soundfile.write(tmp_path / "short.wav", make_melody(9, 0.1)[:20], 8000)
    (tmp_path / "broken.wav").write_bytes(b"broken")
    long, short, broken = predict(task(), run, [tmp_path / f"{name}.wav" for name in ("long", "short", "broken")])
    assert isinstance(broken, DataError)
    assert not isinstance(long, DataError)
    assert not isinstance(short, DataError)
    assert len(long.note["bits_by_second"]) == 3
    wave = encode(read_sound(tmp_path / "long.wav"))
    x = torch.from_numpy(np.concatenate([np.full(RUN_CONTEXT, SILENCE, np.uint8), wave]))[None]
    net = WaveNet.of(tritoncnn.train.tensorfile.read_tensors(run / "model.safetensors")[0])
    with torch.no_grad():
        assert long.note["bits"] == pytest.approx(float(net(x).double().mean()) / math.log(2), rel=1e-5)
    assert "bits per sample, of 2.3 seconds" in long.lines[0]
    assert short.note["seconds"] == 20 / 8000


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_compose_makes_the_same_sound_again_and_goes_on_from_a_file(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert call("compose", run, "--seconds", "0.1", "--seed", "5", "--out", tmp_path / f"{name}.wav").exit_code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert len(read_sound(tmp_path / "a.wav")) == 800
    prime = run.parent / "sounds" / "1.flac"
    result = call("compose", run, "--seconds", "0.1", "--prime", prime, "--json", "--out", tmp_path / "c.wav")
    note = json.loads(result.output)
    assert (note["given_seconds"], note["made_seconds"]) == (0.06, 0.1)
    assert note["microseconds_per_sample"] > 0
    gone_on = read_sound(tmp_path / "c.wav")
    assert len(gone_on) == 1280
    assert (encode(gone_on[:480]) == encode(read_sound(prime))).mean() > 0.98  # 16 bits are not all levels apart


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seconds", "0"), "--seconds must be above 0 and at most 600; got 0"),
        (("--seconds", "nan"), "--seconds must be above 0 and at most 600; got nan"),
        (("--seconds", "601"), "--seconds must be above 0 and at most 600; got 601"),
        (("--temperature", "0"), "--temperature must be from 0.01 to 100; got 0"),
        (("--temperature", "nan"), "--temperature must be from 0.01 to 100; got nan"),
        (("--seed", "-1"), "--seed must be a whole number from 0 to 2**63 - 1; got -1"),
        (("--out", "sound.mp3"), "--out sound.mp3 must end in .wav"),
        (("--prime", "nothing.wav"), "sound nothing.wav does not exist"),
    ],
)
def test_compose_refuses_what_makes_no_sound_in_one_sentence(run: Path, words: tuple[str, ...], said: str) -> None:
    result = call("compose", run, *words)
    assert result.exit_code == 2
    assert result.output == f"tritoncnn: error: {said}\n"


def test_a_run_of_another_task_makes_no_sound(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(task(), name="other", models={"wavenet": lambda facts, **_: torch.nn.Linear(1, 1)})
    monkeypatch.setattr(
        "tritoncnn.music.load_trained", lambda *a, **k: type("T", (), {"module": torch.nn.Linear(1, 1)})
    )
    with pytest.raises(InputError, match="is a run of other; wanted one of wavenet, which makes sounds$"):
        compose_of_run(other, run, Composing(), Path("a.wav"))


def test_the_loss_counts_the_samples_that_are_there() -> None:
    said = torch.arange(12.0).reshape(2, 6)
    there = torch.tensor([[True, False, True, False], [False] * 4])
    assert loss(said, there) == (2 + 4) / 2
    assert F.relu(loss(said, ~there & False)) == 0
    with pytest.raises(InputError, match="the net hears 2 samples more than --context"):
        loss(said[:, :2], there)
