"""The libraries that we are compared with, each in an environment of its own that is made at its first use.

``python -m benchmarks.peers deepctr-torch`` makes one; every benchmark makes those that it needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENTS = Path(__file__).parent / ".envs"
TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Peer:
    """The arguments of pip.

    Args:
        needs: installed with their dependencies.
        alone: installed without their dependencies, which the benchmark never runs or which can no longer be installed.
    """

    needs: tuple[str, ...]
    alone: tuple[str, ...]

    @property
    def recipe(self) -> str:
        """What the environment is made from, as text; where it changes, the environment is made again."""
        return "\n".join((sys.version, *self.needs, "alone:", *self.alone))


PEERS = {
    "existing": Peer((TORCH, "numpy", "pandas", "scikit-learn", "tqdm", "safetensors"), ("torch-rechub==0.9.0",)),
    "deepctr-torch": Peer((TORCH, "numpy", "scikit-learn", "tqdm", "requests"), ("deepctr-torch==0.3.0",)),
    "fuxictr": Peer(
        (TORCH, "numpy", "pandas", "pyyaml", "scikit-learn", "h5py", "tqdm", "polars", "pyarrow", "ray[data]>=2.52"), ("fuxictr==2.3.10",)
    ),
    "recbole": Peer(
        (
            *(TORCH, "numpy<2", "scipy", "pandas<3", "scikit-learn", "tqdm", "pyyaml", "colorlog", "colorama"),
            *("tensorboard", "texttable", "psutil", "tabulate", "thop", "setuptools<81"),
        ),
        ("recbole==1.2.1",),
    ),
    "lightning": Peer((TORCH, "numpy", "lightning==2.6.6"), ()),
    "keras": Peer((TORCH, "numpy", "keras==3.15.1"), ()),
    "transformers": Peer((TORCH, "numpy", "transformers==5.23.0", "accelerate==1.15.0"), ()),
    "ignite": Peer((TORCH, "numpy", "pytorch-ignite==0.5.5"), ()),
    "skorch": Peer((TORCH, "numpy", "scikit-learn", "skorch==1.4.0"), ()),
    "composer": Peer(  # it requires torch < 2.7.1 and a torchvision for it
        (
            *(TORCH, "numpy<2.3", "pyyaml<7", "tqdm", "torchmetrics<1.7.5", "requests", "psutil<8", "coolname<3", "tabulate==0.9.0"),
            *("py-cpuinfo<10", "packaging<25.1", "importlib-metadata<9", "mosaicml-cli<0.8", "pillow<12"),
        ),
        ("mosaicml==0.32.1", "torchvision==0.28.0", "torch_optimizer==0.3.0", "pytorch-ranger"),
    ),
}


def python_of(name: str) -> str:
    """The interpreter of a peer's environment, which is made where it is missing.

    Raises:
        RuntimeError: with the end of pip's output, where it cannot be installed.
    """
    peer, folder = PEERS[name], ENVIRONMENTS / name
    python, marker = folder / "bin" / "python", folder / "recipe.txt"
    if marker.is_file() and marker.read_text() == peer.recipe:
        return str(python)
    print(f"making the environment of {name} ...", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True)
    for requirements, options in ((peer.needs, ()), (peer.alone, ("--no-deps",))):
        if requirements:
            _install(name, python, [*options, *requirements])
    marker.write_text(peer.recipe)
    return str(python)


def _install(name: str, python: Path, arguments: list[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} does not install: pip said\n{done.stderr[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"{', '.join(PEERS)}; all of them when none is named")
    names = parser.parse_args().names
    if not set(names) <= set(PEERS):
        parser.error(f"the libraries are {', '.join(PEERS)}")
    for name in names or PEERS:
        print(python_of(name))


if __name__ == "__main__":
    main()
