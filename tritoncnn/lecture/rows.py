"""The lecture's rows in its order, each as small as it can be and still show its point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tritoncnn.lecture import by_hand
from tritoncnn.lecture.row import Row, Shown
from tritoncnn.lecture.stage import Stage
from tritoncnn.tasks import find_task
from tritoncnn.train.ways import folder_of

CURVES = "Loss and metrics over the epochs."
MISTAKES = "The surest mistakes on the test part: the truth, and what the net took it for."
MIXED_UP = "Which class was taken for which, on the test part."


def trained(task: str, *flags: str, **pictures: str) -> Callable[[Stage], Shown]:
    """A row that trains a task with these flags; ``pictures``: a file of the run folder, without its ending -> the caption."""

    def run(stage: Stage) -> Shown:
        stage.call("train", task, *flags, "--out", stage.folder / "run", "--quiet")
        summary = stage.read("run", "summary.json")
        metric = find_task(task).metrics[(best := find_task(task).best)]
        drawn = {Path(name).stem: stage.folder / "run" / name for name in summary["files"]}
        curves = {"curves": CURVES} if summary["epochs"] > 1 else {}  # of one epoch they are dots
        return Shown(
            metric=best.replace("_", " "),
            value=summary["metrics"][best],
            baseline=summary["baseline"]["value"],
            by=summary["baseline"]["by"],
            falls=metric.falls,
            percent=metric.percent,
            files={drawn[name]: text for name, text in (pictures | curves).items()},
            launches=summary["launches"],
            fused=summary["fused"],
        )

    return run


def compared(
    task: str,
    name: str,
    values: str,
    worse: str,
    by: str,
    *flags: str,
    seeds: int = 1,
    times: float = 1.0,
    **pictures: str,
) -> Callable[[Stage], Shown]:
    """A row that trains a task once for each of the ``values`` of its option ``name``; the baseline is ``worse``, one of them,
    and has to be ``times`` worse.

    ``pictures``: a file of the run folder of the first value that is not ``worse``, without its ending -> the caption.
    """

    def run(stage: Stage) -> Shown:
        folder = stage.folder / "comparison"
        stage.call(
            "compare", task, "--vary", f"{name}={values}", *flags, "--seeds", str(seeds), "--out", folder, "--quiet"
        )
        table = stage.read("comparison", "table.json")
        metric = find_task(task).metrics[table["metric"]]
        rows = list(table["rows"])
        baseline = rows.pop(values.split(",").index(worse))["mean"]
        run = folder / folder_of({name: rows[0][name]}, 0)
        summary = stage.read(str(run.relative_to(stage.folder)), "summary.json")
        drawn = {Path(file).stem: run / file for file in summary["files"]}
        return Shown(
            metric=table["metric"].replace("_", " "),
            value=(min if metric.falls else max)(row["mean"] for row in rows),
            baseline=baseline,
            by=by,
            falls=metric.falls,
            times=times,
            percent=metric.percent,
            files={
                **{drawn[file]: text for file, text in pictures.items()},
                folder / "comparison.png": f"The same net by its {name}.",
            },
            launches=summary["launches"],
            fused=summary["fused"],
        )

    return run


_ROWS = (
    Row(
        "hand-made-filters",
        "Filters made by hand",
        "A filter is laid over each pixel and its neighbours: differences of neighbours find edges, means blur. "
        "Ours agrees with SciPy in double precision up to the rounding of single precision.",
        "filter sobel PICTURE --pyramid 3",
        by_hand.filters,
    ),
    Row(
        "learned-filter",
        "A filter found by optimisation",
        "Show the computer a picture before and after: it finds the filter in between, in closed form and by descent.",
        "learn-filter BEFORE AFTER --size 7",
        by_hand.learned,
    ),
    Row(
        "texture",
        "Texture: a cheetah's spots, a zebra's stripes",
        "Filters, a non-linearity, the mean. Without the non-linearity all that is left is the mean of the picture, "
        "which spots and stripes share.",
        "train texture --data textures",
        compared("texture", "activation", "relu,none", "none", "the same net without a non-linearity"),
    ),
    Row(
        "depth",
        "Stacks of filters",
        "Each layer combines what the one below found, so that deeper layers see larger and more special patterns.",
        "compare stack --vary depth=0,1,2,3 --vary activation=relu,none",
        compared("stack", "depth", "0,3", "0", "no layer of filters at all", "--epochs", "3"),
    ),
    Row(
        "nonlinearity",
        "What the non-linearity is for",
        "A stack of filters without one is a single filter, however deep.",
        "compare stack --vary activation=relu,tanh,sigmoid,none --vary pool=avg",
        compared(
            "stack",
            "activation",
            "relu,none",
            "none",
            "the same stack without a non-linearity",
            "--epochs",
            "3",
            "--pool",
            "avg",
        ),
    ),
    Row(
        "pooling",
        "Pooling and several resolutions",
        "Keep the strongest of four neighbours: what comes after sees twice as far, at a quarter of the work.",
        "compare stack --vary pool=max,avg,stride,none",
        compared(
            "stack", "pool", "max,avg,stride", "stride", "the same stack that keeps one of the four", "--epochs", "3"
        ),
    ),
    Row(
        "fully-connected",
        "Fully connected",
        "Every unit sees every pixel, and none knows which are neighbours. It works, by many more numbers.",
        "train stack --model full --depth 2",
        trained("stack", "--model", "full", "--depth", "2", "--epochs", "4", mistakes=MISTAKES, confusion=MIXED_UP),
    ),
    Row(
        "lenet",
        "LeNet",
        "Filters, pools, filters, pools, full layers (LeCun et al. 1998): the first of them to read handwriting.",
        "train lenet --data mnist --data-dir DIR",
        trained("lenet", "--epochs", "12", mistakes=MISTAKES, confusion=MIXED_UP),
    ),
    Row(
        "alexnet",
        "AlexNet",
        "Deeper, wider, with dropout (Krizhevsky et al. 2012). Which of twelve photographs is a patch of?",
        "train alexnet",
        trained("alexnet", "--epochs", "1", mistakes=MISTAKES, confusion=MIXED_UP),
    ),
    Row(
        "vgg",
        "VGG",
        "Only 3 × 3 filters, two or three of them in place of a large one (Simonyan & Zisserman 2015).",
        "train vgg",
        trained("vgg", "--epochs", "1", mistakes=MISTAKES, confusion=MIXED_UP),
    ),
    Row(
        "googlenet",
        "GoogLeNet",
        "Filters of several sizes side by side, and helping heads on the way (Szegedy et al. 2015).",
        "train googlenet",
        trained("googlenet", "--epochs", "1", mistakes=MISTAKES, confusion=MIXED_UP),
    ),
    Row(
        "resnet",
        "ResNet",
        "Each block adds to what came in, so that gradients reach the first layer unhindered (He et al. 2016).",
        "train resnet --augment crop,flip",
        trained("resnet", "--epochs", "2", mistakes=MISTAKES, confusion=MIXED_UP),
    ),
    Row(
        "detection",
        "Object detection",
        "Where is what, and how many? Each place of the map tells a class and the four sides of a box (Tian et al. 2019).",
        "train detection --data coco --data-dir DIR",
        trained("detection", "--epochs", "5", found="Boxes that were found on test pictures, with class and score."),
    ),
    Row(
        "detection3d",
        "3D detection",
        "A lidar scan is sorted into pillars, which are a picture from above to a net of filters (Lang et al. 2019).",
        "train pillars --data kitti --data-dir DIR",
        trained("pillars", "--epochs", "5", scans="Made streets from above: points, true boxes and found ones."),
    ),
    Row(
        "segmentation",
        "Segmentation",
        "What is at each pixel? A net without full layers answers at every place at once (Long et al. 2015).",
        "train segmentation --model deeplab",
        trained("segmentation", "--epochs", "2", masks="Made pictures, what is in them, and what was found."),
    ),
    Row(
        "u-net",
        "U-Net: what the skips are for",
        "The small map knows what is there, the large ones where: skips hand both to the decoder (Ronneberger et al. 2015).",
        "train unet",
        compared(
            "unet",
            "skips",
            "true,false",
            "false",
            "the same net without skips",
            "--size",
            "32",
            "--epochs",
            "2",
            masks="Made cells, what they are, and what was found.",
        ),
    ),
    Row(
        "encoder-decoder",
        "One encoder, several answers",
        "What is in a grey picture, how far it is, and its colours: three decoders on one encoder (Caruana 1997).",
        "compare trunk --vary heads=all,parts,depth,colour",
        trained(
            "trunk", "--size", "32", "--epochs", "3", answers="Made rooms: what each head says, above what is true."
        ),
    ),
    Row(
        "rgb-depth",
        "Depth of one picture",
        "Size, texture and where things stand tell how far they are (Eigen et al. 2014). Light is near, dark is far.",
        "train depth --data depths --data-dir DIR",
        trained("depth", "--epochs", "3", depths="Made rooms: depth that is said, true depth, and their ratio."),
    ),
    Row(
        "synthesis",
        "Pictures from label maps",
        "One net paints what the map says, another one learns to tell its pictures from true ones, and both get better "
        "(Isola et al. 2017).",
        "infer RUN MAP.png --out DIR",
        trained(
            "synthesis", "--epochs", "5", made="Label maps (made: clusters of colours), what is painted, photographs."
        ),
    ),
    Row(
        "style",
        "Style transfer",
        "What is on one picture, painted in the style of another: the picture itself is what is trained (Gatys et al. 2016), "
        "here by untrained, random filters (Ustyuzhaninov et al. 2016).",
        "style PHOTO PAINTING --size 384",
        by_hand.painted,
    ),
    Row(
        "video-style",
        "Films in a style, without flicker",
        "A net that paints in one pass (Johnson et al. 2016) learns from pairs of frames: what both show must stay the same, "
        "moved along (Ruder et al. 2016).",
        "stylise RUN FRAMES",
        compared(
            "videostyle",
            "temporal",
            "1000,0",
            "0",
            "the same net, each frame for itself",
            "--epochs",
            "1",
            times=2,
            painted="Frames of made pans over photographs, and what the net paints.",
        ),
    ),
    Row(
        "wavenet",
        "WaveNet for music",
        "Filters that look back only, twice as far in each layer, tell the next sample; drawn one by one they are music "
        "(van den Oord et al. 2016).",
        "compose RUN --seconds 20 --temperature 0.95",
        trained(
            "wavenet",
            **{
                "continued": "A made melody that was held out, for a second, and how the net goes on.",
                "from-silence": "From silence.",
                "spectrograms": "Which tones sound when: the melody, the continuation, the sound from silence.",
            },
        ),
    ),
    Row(
        "adversarial",
        "Adversarial examples",
        "A change too small to mind, but chosen along the gradient, turns the net's answer; noise of that size does not.",
        "attack RUN PICTURE --target CLASS",
        by_hand.attacked,
    ),
    Row(
        "dreaming",
        "Dreaming",
        "Change the picture until a layer answers it much more strongly: what the layer looks for comes to light.",
        "dream RUN PICTURE --layer ?",
        by_hand.dreamt,
    ),
)
ROWS = {row.name: row for row in _ROWS}
