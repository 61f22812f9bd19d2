"""Write the corpus and print what must happen with each input.

python -m tests.corpus [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.corpus.every import EVERY


def main() -> None:
    """Print a line for each case; with a folder, write the inputs below it."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    for kind, cases in EVERY.items():
        for index, case in enumerate(cases):
            place = folder / kind / f"{index:03d}"
            place.mkdir(parents=True)
            case.make(place)
            print(f"{kind:12s} {'hostile' if case.hostile else 'bad    '} {case.outcome:11s} {case.name!r} {case.told}")
    hostile = sum(case.hostile for cases in EVERY.values() for case in cases)
    total = sum(map(len, EVERY.values()))
    print(f"{total - hostile} kinds of bad or unusual input, {hostile} hostile files, in {folder}")


if __name__ == "__main__":
    main()
