"""Digits by stacks of filters that lack one part or another: what are depth, non-linearity and pooling for?"""

from __future__ import annotations

from tritoncnn.data.ink import SIZE, read_ink
from tritoncnn.models.stack import Full, Stack
from tritoncnn.task import Recipe
from tritoncnn.tasks.kinds.baselines import nearest_picture
from tritoncnn.tasks.kinds.classification import classification

task = classification(
    name="stack",
    about="digits by three layers of filters, relu and max pooling; its other models lack one of these or have another",
    models={
        "filters": lambda classes, channels: Stack(classes, channels),
        "depth-1": lambda classes, channels: Stack(classes, channels, depth=1),
        "depth-2": lambda classes, channels: Stack(classes, channels, depth=2),
        "tanh": lambda classes, channels: Stack(classes, channels, activation="tanh"),
        "mean-pooling": lambda classes, channels: Stack(classes, channels, pool="avg"),
        "no-pooling": lambda classes, channels: Stack(classes, channels, pool="none"),
        "linear": lambda classes, channels: Stack(classes, channels, activation="none", pool="avg"),
        "full": lambda classes, channels: Full(classes, channels),
        "full-linear": lambda classes, channels: Full(classes, channels, activation="none"),
    },
    data=("digits", "mnist", "folder"),
    read=read_ink,
    shape=(1, SIZE, SIZE),
    classes=10,
    recipe=Recipe(epochs=4, batch=64, steps=400, optimizer="sgd", lr=0.03, momentum=0.9, weight_decay=5e-4),
    recipes={},
    baseline=nearest_picture,
)
