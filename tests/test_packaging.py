"""Distribution: the wheel installs one package, and works beside packages with the names of its folders."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.zoo.cards import MODEL_FILES, card, write_model

ROOT = Path(__file__).parents[1]
FOLDERS = ("attacks", "models", "components", "pipeline", "zoo")
"""Top-level folders that are subpackages."""
ZOO_MODEL = ("zoo", "ham10000", "packaged")
"""Folder of a model that only the copy has, so that an empty zoo is tested, too."""
NO_SOURCES = ("__pycache__", ".*", "build", "dist", "output", "*.egg-info")
TINY = '{"root": "output", "ingest": {"dataset": {"dataset": "synthetic", "count": 50, "height": 32, "width": 32}}}'
WHERE = "import dermrobust, models, pipeline, attacks; print(dermrobust.__file__, models.MINE, dermrobust.__version__)"

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def wheel_of(source: Path, folder: Path) -> Path:
    """The wheel of a source tree or a source distribution."""
    run(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, since building leaves files behind."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NO_SOURCES))
    write_model(folder / "zoo", card("packaged"))
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(checkout, tmp_path_factory.mktemp("wheel"))


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if ".dist-info/" not in name}


def test_the_wheel_installs_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        top = {PurePosixPath(name).parts[0] for name in file.namelist()}

    assert {name for name in top if not name.endswith(".dist-info")} == {"dermrobust"}
    assert len(top) == 2


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    sources = {
        PurePosixPath("dermrobust", *path.relative_to(ROOT / "dermrobust" if layer == "dermrobust" else ROOT).parts)
        for layer in (*FOLDERS, "dermrobust")
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    model = {str(PurePosixPath("dermrobust", *ZOO_MODEL, name)) for name in MODEL_FILES}

    assert content(wheel) == {*map(str, sources), *model, "dermrobust/pipeline/pipeline_config.json"}


def test_beam_can_install_the_project_on_workers(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    """The option `--setup_file` makes a source distribution, which workers install."""
    from apache_beam.runners.portability.stager import Stager

    archive = Path(Stager._build_setup_package(str(checkout / "setup.py"), str(tmp_path)))

    with tarfile.open(archive) as file:
        names = {PurePosixPath(name).name for name in file.getnames()}
    assert {"setup.py", "pipeline_config.json", "README.md", "LICENSE"} <= names
    folder = tmp_path / "wheel"
    folder.mkdir()
    assert content(wheel_of(archive, folder)) == content(wheel)


def test_an_installed_wheel_works_beside_packages_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    installed, mine = tmp_path / "installed", tmp_path / "mine"
    run(*PIP, "install", "--no-deps", "--no-index", "--target", installed, wheel, cwd=tmp_path)
    for name in FOLDERS:
        mine.joinpath(name).mkdir(parents=True)
        mine.joinpath(name, "__init__.py").write_text("MINE = 'mine'\n")
    (mine / "tiny.json").write_text(TINY)
    path = f"{mine}{os.pathsep}{installed}"
    command = installed / "bin" / "dermrobust"

    found = run(sys.executable, "-c", WHERE, cwd=mine, PYTHONPATH=path).split()
    valid = run(command, "config", "validate", cwd=mine, PYTHONPATH=path)
    run(command, "run", "--to", "ingest", "--config", "tiny.json", cwd=mine, PYTHONPATH=path)
    verified = run(command, "zoo", "verify", "packaged", cwd=mine, PYTHONPATH=path)

    assert found[:2] == [str(installed / "dermrobust" / "__init__.py"), "mine"]
    assert verified == "ham10000/packaged: 4 files are as the card says\n"
    assert valid.startswith("the config is valid\n")  # the embedded default, since there is no config here
    assert len(list(mine.glob("output/artifacts/dataset/*/manifest.json"))) == 1
