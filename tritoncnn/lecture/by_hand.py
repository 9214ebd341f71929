"""Rows that train no net of their own: filters, attacks, dreams."""

from __future__ import annotations

import json
import shutil

import numpy as np
import scipy.ndimage

from tritoncnn.data.photographs import find
from tritoncnn.data.values import read_values
from tritoncnn.lecture.row import Shown
from tritoncnn.lecture.stage import Stage

SOBEL = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
CLOSE = 1e-6  # promised of a filter's result, as a share of the largest that it can have
FOUND = 1e-5  # promised of each tap that is found again
EPSILON = 0.03


def filters(stage: Stage) -> Shown:
    """Sobel's filter on a photograph, and on its pyramid, beside SciPy in f64: within what the filters promise."""
    picture = stage.folder / "coffee.png"
    shutil.copyfile(find("coffee"), picture)
    stage.call("filter", "sobel", picture, "--out", stage.folder / "sobel.npy")
    stage.call("filter", "sobel", picture, "--pyramid", "3", "--out", stage.folder / "sobel.png")
    x = read_values(picture).astype(np.float64)
    gradients = [scipy.ndimage.correlate(x, taps[None], mode="reflect") for taps in (SOBEL, SOBEL.T)]
    wanted = np.hypot(*gradients)
    found = read_values(stage.folder / "sobel.npy")
    largest = np.abs(SOBEL).sum() * np.abs(x).max()
    return Shown(
        metric="largest difference from SciPy in f64, as a share of the largest answer of a filter",
        value=float(np.abs(found - wanted).max() / largest),
        baseline=CLOSE,
        by="what single precision must keep to",
        falls=True,
        files={
            picture: "A photograph (R. Michetti, CC0, with scikit-image).",
            stage.folder / "sobel.png": "How steep it is at each pixel, at three sizes.",
        },
    )


def learned(stage: Stage) -> Shown:
    """A filter of random taps, found again from a photograph before and after it, in closed form and by descent."""
    picture, taps = stage.folder / "cat.png", stage.folder / "hidden.txt"
    shutil.copyfile(find("cat"), picture)
    hidden = np.random.RandomState(0).uniform(-1, 1, (5, 5)).round(2)
    np.savetxt(taps, hidden, fmt="%.2f")
    after = stage.folder / "after.npy"
    stage.call("filter", "own", picture, "--taps", taps, "--border", "none", "--out", after)
    stage.call("learn-filter", picture, after, "--size", "5", "--out", stage.folder / "found")
    report = stage.read("found", "report.json")
    errors = [np.abs(np.array(report[way]["taps"]) - hidden).max() for way in ("least_squares", "descent")]
    return Shown(
        metric="largest error of a tap, of both ways",
        value=float(max(errors)),
        baseline=FOUND,
        by="what a filter that is found must keep to",
        falls=True,
        files={stage.folder / "found" / "filter.png": "The filter by least squares and by descent, and the way down."},
        launches=report["descent"]["launches_per_step"],
    )


def painted(stage: Stage) -> Shown:
    """A temple in strokes, by a picture that is trained."""
    out = stage.folder / "temple.png"
    note = json.loads(stage.call("style", "temple", "strokes", "--steps", "60", "--json", "--out", out))
    return Shown(
        metric="content, style and variation, weighted",
        value=note["after"]["total"],
        baseline=note["before"]["total"],
        by="the photograph as it is",
        falls=True,
        times=10,
        files={
            out: "The temple (danielbuechele, CC BY 2.0, with scikit-learn) in strokes that are made.",
            out.with_name("temple-strip.png"): "Content, style, result.",
        },
        launches=note["launches"],
    )


def attacked(stage: Stage) -> Shown:
    """Accuracy of the lecture's ResNet under PGD, beside that under noise of the same size."""
    run, out = stage.train("resnet"), stage.folder / "attack"
    stage.call("attack", run, "--epsilon", str(EPSILON), "--examples", "200", "--out", out)
    note = stage.read("attack", "curve.json")
    last = note["curve"][-1]
    return Shown(
        metric=f"accuracy under attack, no pixel changed by more than {EPSILON:.0%}",
        value=last["accuracy"],
        baseline=last["noise_accuracy"],
        by="what noise of the same size leaves",
        falls=True,
        percent=True,
        files={
            out / "examples.png": "Before, the change magnified, after; with what the net takes it for.",
            out / "curve.png": "Accuracy over the size of the change.",
        },
        launches=note["launches"],
    )


def dreamt(stage: Stage) -> Shown:
    """A layer of the lecture's ResNet, dreaming of a cup of coffee."""
    run, picture, out = stage.train("resnet"), stage.folder / "coffee.png", stage.folder / "dream"
    shutil.copyfile(find("coffee"), picture)
    stage.call(
        "dream", run, picture, "--layer", "layer2", "--channel", "20", "--size", "160", "--octaves", "3", "--out", out
    )
    note = stage.read("dream", "dream.json")
    return Shown(
        metric="mean answer of channel 20 of layer2",
        value=note["after"],
        baseline=note["before"],
        by="what it answers to the picture as it is",
        times=10,
        files={
            picture: "Before (R. Michetti, CC0, with scikit-image).",
            out
            / "dream.png": f"After: what the channel looks for. To noise of the same size it answers {note['noise']:.3g}.",
        },
        launches=note["launches"],
    )
