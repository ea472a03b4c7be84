"""Draw docs/images/pose.svg: the signs of yaw, pitch and roll, as seen in the image.

    python tools/pose_diagram.py

Each panel projects the generic face of mien.imaging.pose at 0 and at +25 degrees, so the drawing
has the signs that the code has; `mien.imaging.pose.head_pose` of what is drawn is checked first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.files import write_text
from mien.imaging.pose import FACE_53, head_pose
from mien.report.palette import BLUE, GREY, INK

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUT = Path(__file__).parents[1] / "docs" / "images" / "pose.svg"
ANGLE, SIDE, SCALE = 25.0, 250, 0.95
CENTRE = np.array([0.0, 8.0, 10.0])
"""Of the skull, in the face's millimetres."""
RADII = np.array([74.0, 104.0, 88.0])
PANELS = (
    ("yaw", "positive: towards the image's right edge", "M 90 232 h 70", "-90 to 90"),
    ("pitch", "positive: upwards", "M 228 150 v -70", "-180 to 180"),
    ("roll", "positive: clockwise", "M 80 40 Q 125 16 170 40", "-180 to 180"),
)


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return roll after yaw after pitch, float64 [3, 3]; axes x right, y down, z away."""
    b, a, c = np.radians([-yaw, -pitch, roll])
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    product: NDArray[np.float64] = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
    return product


def face(pose: tuple[float, float, float], style: str) -> str:
    """Return the lines of a head at a pose."""
    turn = rotation(*pose)
    middle = np.array([SIDE / 2, SIDE / 2 + 4])

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        seen: NDArray[np.float64] = middle + SCALE * ((points - CENTRE) @ turn.T)[:, :2]
        return seen

    found = head_pose(place(FACE_53))
    if not np.allclose(found, pose, atol=0.01):
        raise SystemExit(f"drawn at {pose}, but the code finds {found}")
    # The outline of an ellipsoid is that of the circle that lies across the line of sight.
    round_ = np.radians(np.arange(0, 361, 6))
    spread = turn @ np.diag(RADII**2) @ turn.T
    root = np.linalg.cholesky(spread[:2, :2])
    outline = middle + SCALE * np.stack([np.cos(round_), np.sin(round_)], 1) @ root.T
    eye, mouth = FACE_53[:2], FACE_53[3:]
    paths = [outline]
    for centre in eye:
        angles = np.linspace(0, 2 * np.pi, 25)
        ring = np.stack([14 * np.cos(angles), 7 * np.sin(angles), 0 * angles], 1)
        paths.append(place(centre + ring))
        paths.append(place(centre + ring * (0.3, 0.6, 1)))
    bridge = np.array([[0, -26, -42], [0, 11.3, -74.8], [-11, 17, -56], [11, 17, -56]])
    paths += [place(bridge[:2]), place(bridge[[1, 2]]), place(bridge[[1, 3]])]
    bow = np.array([mouth[0], (mouth[0] + mouth[1]) / 2 + (0, 7, -9), mouth[1]])
    along = np.linspace(0, 1, 15)[:, None]
    paths.append(
        place((1 - along) ** 2 * bow[0] + 2 * along * (1 - along) * bow[1] + along**2 * bow[2])
    )
    return "".join(
        f'<polyline {style} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in path)}"/>'
        for path in paths
    )


def main() -> None:
    """Write the drawing."""
    panels = []
    for number, (name, words, arrow, span) in enumerate(PANELS):
        pose = [0.0, 0.0, 0.0]
        pose[number] = ANGLE
        panels.append(
            f'<g transform="translate({10 + number * (SIDE + 10)} 10)">'
            f'<text x="{SIDE / 2}" y="2" class="name">{name} = +{ANGLE:.0f}°</text>'
            f'{face((0, 0, 0), f"""stroke="{GREY}" stroke-dasharray="3 4" """)}'
            f'{face((pose[0], pose[1], pose[2]), f"""stroke="{INK}" """)}'
            f'<path d="{arrow}" stroke="{BLUE}" stroke-width="4" marker-end="url(#tip)"/>'
            f'<text x="{SIDE / 2}" y="258">{words}</text>'
            f'<text x="{SIDE / 2}" y="276">{span} degrees</text></g>'
        )
    width, height = 3 * SIDE + 40, SIDE + 50
    write_text(
        OUT,
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -14 {width} {height}" fill="none" '
        'stroke-width="2" stroke-linecap="round" role="img" aria-label="Signs of yaw, pitch and '
        'roll">'
        f"<style>text{{fill:{INK};font:14px sans-serif;text-anchor:middle}}"
        ".name{font-weight:bold;font-size:16px}</style>"
        f'<defs><marker id="tip" markerWidth="4" markerHeight="4" refX="2" refY="2" '
        f'orient="auto"><path d="M 0 0 L 4 2 L 0 4 Z" fill="{BLUE}"/></marker></defs>'
        f'<rect y="-14" width="{width}" height="{height}" rx="8" fill="#fff"/>'
        f"{''.join(panels)}</svg>\n",
    )
    print(OUT)


if __name__ == "__main__":
    main()
