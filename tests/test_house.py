"""The house itself: what is installed, who reads the environment, what importing costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import arrows, circle, module_name
from tritoncnn import settings
from tritoncnn.errors import InputError

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for room in ("tritoncnn", "kernels", "models") for path in (ROOT / room).rglob("*.py"))


def test_every_room_is_installed() -> None:
    listed = re.search(r"\npackages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert listed is not None
    rooms = {"tritoncnn", "tritoncnn.kernels", "tritoncnn.models"}
    rooms |= {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "tritoncnn").glob("*/**/__init__.py")}
    assert set(re.findall(r'"([\w.]+)"', listed[1])) == rooms


def test_every_room_is_in_the_table_of_how_it_works() -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    listed = {name.removeprefix("tritoncnn/").rstrip("/") for name in re.findall(r"`([\w/]+(?:\.py|/))`", page)}
    rooms = {path.name for path in (ROOT / "tritoncnn").iterdir() if path.suffix in ("", ".py") and path.name[0] != "_"}
    assert rooms <= listed


@pytest.mark.parametrize("room", ["kernels", "models"])
def test_linked_rooms_are_links(room: str) -> None:
    link = ROOT / "tritoncnn" / room
    assert link.is_symlink()
    assert link.resolve() == ROOT / room


def test_no_imports_go_round() -> None:
    """Where two files need each other, what both need belongs in a third, or they are one."""
    files = {module_name(path.relative_to(ROOT)): path for path in SOURCES}
    files = {name if name.startswith("tritoncnn") else f"tritoncnn.{name}": path for name, path in files.items()}
    found = arrows(files)
    assert "tritoncnn.cpu.facts.analysis" in found["tritoncnn.cpu.emit.state"]
    assert "tritoncnn.kernels.launch" in found["tritoncnn.kernels.pool"]
    assert circle(found) == []


LATE = "def f():\n    from {} import {}\n"
TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {} import {}\n"


@pytest.mark.parametrize(
    ("first", "second", "face"),
    [
        ("from h.b import B", "from .a import A", ""),
        ("import h.b", "import h.a as other", ""),
        ("from . import b", LATE.format("h", "a"), ""),
        (TYPES.format("h.b", "B"), LATE.format(".a", "A"), ""),
        ("from h import B", TYPES.format("h", "A"), "from .a import A\nfrom .b import B"),
        ("from h import Z", "from h.a import A", "from .b import B as Z"),
        ("from h import one", "from .a import A", "from h.b import B\ndef one(): return B"),
    ],
)  # fmt: skip
def test_imports_that_go_round_are_found(first: str, second: str, face: str, tmp_path: Path) -> None:
    def found(**texts: str) -> list[str]:
        files = {}
        for name, text in texts.items():
            path = tmp_path / "h" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            files[module_name(path.relative_to(tmp_path))] = path
        return circle(arrows(files))

    assert {"h.a", "h.b"} <= set(found(__init__=face, a=first, b=second))
    assert found(__init__=face, a=first, b="B = 1") == found(__init__=face, a="A = 1", b=second) == []


def test_only_settings_reads_the_environment() -> None:
    readers = [path.name for path in SOURCES if re.search(r"os\.(environ|getenv)", path.read_text())]
    assert set(readers) <= {"settings.py"}


def test_nothing_is_unpickled_that_could_run_code() -> None:
    """torch.load reads weights alone; pickles are read in one file, by a reader that chooses what a name stands for."""
    unpickling = re.compile(
        r"^\s*(import|from) pickle\b|pickle\.loads?\(|(?<!safetensors\.)torch\.load\((?!.*weights_only=True)",
        re.MULTILINE,
    )
    restricted = ROOT / "tritoncnn" / "data" / "pickled.py"
    assert [path for path in SOURCES if unpickling.search(path.read_text())] == [restricted]
    text = restricted.read_text()
    assert "def find_class(" in text
    assert not re.search(r"pickle\.loads?\(", text)


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom tritoncnn.commands import main\n"
        "result = CliRunner().invoke(main, ['--help'])\n"
        "print(result.exit_code, sorted({'torch', 'triton', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 []"


def test_importing_the_compiler_leaves_tritons_driver_alone() -> None:
    code = (
        "import triton.backends\nbefore = sorted(triton.backends.backends)\n"
        "import torch, tritoncnn\ntritoncnn.compile(torch.nn.Linear(3, 2), torch.zeros(4, 3))(torch.zeros(4, 3))\n"
        "from triton.runtime.driver import driver\n"
        "print(before == sorted(triton.backends.backends), driver._active is None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True True"


@pytest.mark.parametrize(("name", "value"), [("TRITONCNN_BOUNDS", "maybe"), ("TRITONCNN_DUMP", "ttir,everything")])
def test_a_switch_that_means_nothing_is_told(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"{name} must be .*; got"):
        settings.current()


def test_what_an_op_is_like_is_told_by_its_traits_and_not_by_its_name() -> None:
    rooms = ("passes", "plan", "autodiff", "optim", "compiler", "runtime", "functional", "gpu")
    compared = re.compile(r"\.op (==|!=|in|not in) ")
    sources = [path for path in SOURCES if path.relative_to(ROOT).parts[1] in rooms]
    assert len(sources) > 40
    assert [str(path) for path in sources if compared.search(path.read_text())] == []


def test_everything_works_without_asserts() -> None:
    code = (
        "import torch, tritoncnn\nx = torch.ones(2, 3, 4, 4)\nm = torch.nn.Conv2d(3, 2, 3)\n"
        "step = tritoncnn.compile_step(m, torch.nn.functional.mse_loss, tritoncnn.Adam(0.1), (x, m(x).detach()))\n"
        "print(float(step(x, torch.zeros(2, 2, 2, 2))) > 0, tritoncnn.compile(m, x)(x).shape)"
    )
    done = subprocess.run([sys.executable, "-O", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True torch.Size([2, 2, 2, 2])"
