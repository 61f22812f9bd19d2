"""Dermatoscopic structures inside a lesion: each function lays one over the canvas, as strong as the lesion's trait.

All of them take `canvas` float32 [3, height, width] and change it in place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dermrobust.components.ingest.datasets.synthetic.fields import (
    Field,
    blend,
    directions,
    generator,
    honeycomb,
    number,
    smoothstep,
    spots,
    strokes,
    uniform,
)
from dermrobust.components.ingest.datasets.synthetic.lesion import LesionView
from dermrobust.components.ingest.datasets.synthetic.traits import Traits

Structure = Callable[[Field, LesionView, np.random.Generator, Traits], None]

_FIRST_STREAM = 100
_VISIBLE = 0.04


def draw_structures(canvas: Field, view: LesionView, lesion_seed: int, traits: Traits) -> None:
    """Lay every structure that the lesion has over `canvas`; each has a random stream of its own."""
    for i, (name, structure) in enumerate(_STRUCTURES.items()):
        if getattr(traits, name) > _VISIBLE:
            structure(canvas, view, generator(lesion_seed, _FIRST_STREAM + i), traits)


def _scatter(rng: np.random.Generator, count: int, inner: float, outer: float) -> tuple[Field, Field]:
    """`count` places [count] between the radii `inner` and `outer` around the middle of the lesion."""
    cosine, sine = directions(rng, count)
    radius = np.sqrt(uniform(rng, inner * inner, outer * outer, count))
    return radius * cosine, radius * sine


def _covered(view: LesionView) -> Field:
    """[height, width] 1 on the lesion, falling to 0 only in the outer half of its soft edge."""
    covered: Field = np.minimum(view.inside * np.float32(2.0), 1.0)
    return covered


def _network(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Pigment network: brown meshes, the more distorted and patchy the more the lesion is variegated."""
    bend = np.float32(0.06 + 0.25 * traits.variegation)
    holes = honeycomb(view.u + bend * view.broad[2], view.v + bend * view.broad[3], number(rng, 3.4, 5.0))
    lines = np.float32(1.0) - smoothstep(holes, 0.15, 0.55)
    patchy = np.clip(np.float32(1.0) + np.float32(1.6 * traits.variegation) * view.broad[1], 0.0, 1.0)
    # Where a white patch lies the network shows only around it.
    rim = smoothstep(view.depth, 0.75, 0.15) if traits.patch > 0.3 else np.float32(1.0)
    blend(canvas, (0.22, 0.12, 0.08), np.float32(0.7 * traits.network) * lines * patchy * rim * view.inside)


def _dots(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Black to brown dots and globules, towards the edge in asymmetric lesions."""
    count = 4 + int(rng.random() * 14)
    inner = 0.2 + 0.5 * traits.asymmetry
    dots = spots(view.u, view.v, _scatter(rng, count, inner, 1.0), uniform(rng, 0.04, 0.1, count), 2.0)
    blend(canvas, (0.14, 0.09, 0.08), np.float32(min(0.9, 1.3 * traits.dots)) * dots * _covered(view))


def _veil(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Blue-white veil over one side, and a scar-like white regression beside it."""
    cosine, sine = directions(rng, 1)
    side = view.u * cosine[0] + view.v * sine[0]
    cloud = side * np.float32(0.6) + view.broad[2]
    inside = view.inside * view.inside
    blend(canvas, (0.40, 0.45, 0.57), np.float32(0.85 * traits.veil) * smoothstep(cloud, 0.0, 0.6) * inside)
    scar = smoothstep(view.broad[3] - side * np.float32(0.6), 0.45, 0.85)
    blend(canvas, (0.82, 0.74, 0.74), np.float32(0.6 * traits.veil) * scar * inside)


def _cysts(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Milia-like cysts (white, shining) and comedo-like openings (dark plugs)."""
    bright, dark = 3 + int(rng.random() * 10), 1 + int(rng.random() * 6)
    strength = np.float32(min(1.0, 1.5 * traits.cysts))
    milia = spots(view.u, view.v, _scatter(rng, bright, 0.0, 0.85), uniform(rng, 0.05, 0.14, bright), 1.6)
    blend(canvas, (0.96, 0.90, 0.76), np.float32(0.85) * strength * milia * _covered(view))
    plugs = spots(view.u, view.v, _scatter(rng, dark, 0.0, 0.8), uniform(rng, 0.05, 0.11, dark), 2.0)
    blend(canvas, (0.30, 0.20, 0.12), np.float32(0.7) * strength * plugs * _covered(view))


def _nests(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Blue-gray ovoid nests and leaf-like areas, mostly in the outer half."""
    count = 2 + int(rng.random() * 6)
    warp = np.float32(0.12)
    u, v = view.u + warp * view.broad[2], view.v * np.float32(1.25) + warp * view.broad[3]
    nests = spots(u, v, _scatter(rng, count, 0.2, 0.95), uniform(rng, 0.14, 0.32, count), 2.2)
    blend(canvas, (0.36, 0.37, 0.46), np.float32(min(0.9, 1.3 * traits.nests)) * nests * _covered(view))


def _vessels(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Arborizing vessels: bright red stems with thinner branches; the noise bends them."""
    stems, per_stem = 2, 4
    cosine, sine = directions(rng, stems)
    side = uniform(rng, -0.5, 0.5, stems)
    starts = (0.9 * cosine - side * sine, 0.9 * sine + side * cosine)
    ends = (starts[0] - 1.4 * cosine, starts[1] - 1.4 * sine)
    along = uniform(rng, 0.1, 0.8, stems * per_stem)
    stem = np.repeat(np.arange(stems), per_stem)
    forks = (
        starts[0][stem] + along * (ends[0] - starts[0])[stem],
        starts[1][stem] + along * (ends[1] - starts[1])[stem],
    )
    lean = uniform(rng, 0.3, 0.6, stems * per_stem) * np.sign(uniform(rng, -1.0, 1.0, stems * per_stem))
    tips = (
        forks[0] - 0.35 * cosine[stem] - lean * sine[stem],
        forks[1] - 0.35 * sine[stem] + lean * cosine[stem],
    )
    thickness = np.concatenate([np.full(stems, 0.07), np.full(stems * per_stem, 0.04)]).astype(np.float32)
    bend, tremble = np.float32(0.24), np.float32(0.04)
    lines = strokes(
        view.u + bend * view.broad[2] + tremble * view.fine[0],
        view.v + bend * view.broad[3] + tremble * view.fine[1],
        (np.concatenate([starts[0], forks[0]]), np.concatenate([starts[1], forks[1]])),
        (np.concatenate([ends[0], tips[0]]), np.concatenate([ends[1], tips[1]])),
        np.maximum(thickness, np.float32(view.pixel)),
    )
    blend(canvas, (0.70, 0.12, 0.16), np.float32(min(0.95, 1.2 * traits.vessels)) * lines)


def _scale(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Keratin: white to yellow flakes on the surface."""
    flakes = smoothstep(view.fine[0] + np.float32(0.5) * view.broad[0], 0.1, 0.8) * view.inside
    yellow = number(rng, 0.66, 0.84)
    blend(canvas, (0.94, 0.90, yellow), np.float32(0.85 * traits.scale) * flakes)


def _strawberry(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Strawberry pattern: a red pseudonetwork around pale follicles."""
    bend = np.float32(0.2)
    holes = honeycomb(view.u + bend * view.broad[0], view.v + bend * view.broad[2], number(rng, 2.6, 3.6))
    strength = np.float32(0.75 * traits.strawberry) * view.inside
    blend(canvas, (0.76, 0.28, 0.28), strength * (np.float32(1.0) - smoothstep(holes, 0.15, 0.6)))
    blend(canvas, (0.93, 0.80, 0.68), strength * smoothstep(holes, 0.6, 0.9))


def _lacunae(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """Red to purple lagoons, sharply bounded and packed, with pale septa between."""
    count = 7 + int(rng.random() * 8)
    blend(canvas, (0.80, 0.52, 0.56), np.float32(0.6 * traits.lacunae) * view.inside)
    lagoons = spots(view.u, view.v, _scatter(rng, count, 0.0, 0.85), uniform(rng, 0.2, 0.34, count), 3.0)
    tone = number(rng, 0.0, 1.0)
    color = (0.66 - 0.36 * tone, 0.08, 0.14 + 0.14 * tone)
    blend(canvas, color, np.float32(min(0.95, traits.lacunae)) * lagoons * _covered(view))


def _patch(canvas: Field, view: LesionView, rng: np.random.Generator, traits: Traits) -> None:
    """White scar-like patch in the middle."""
    radius = number(rng, 0.45, 0.7)
    distance = np.sqrt(view.u * view.u + view.v * view.v) + np.float32(0.12) * view.broad[2]
    blend(canvas, (0.95, 0.86, 0.82), np.float32(0.85 * traits.patch) * smoothstep(distance, radius, 0.3 * radius))


# In the order of drawing, from the depth of the skin to its surface; the names are those of the traits.
_STRUCTURES: dict[str, Structure] = {
    "network": _network,
    "patch": _patch,
    "veil": _veil,
    "nests": _nests,
    "lacunae": _lacunae,
    "dots": _dots,
    "strawberry": _strawberry,
    "vessels": _vessels,
    "cysts": _cysts,
    "scale": _scale,
}
