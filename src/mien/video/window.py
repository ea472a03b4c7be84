"""A window for live images, in Tk: it comes with Python, and OpenCV's would take 150 MB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from mien.errors import SourceError
from mien.report.palette import DARK_INK, DARK_PAPER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = (1280, 800)
"""Maximum width and height in pixels; larger images are scaled down."""
HINT = "p pause    s snapshot    r record    q quit"


class TkWindow:
    """Shows images; see `mien.video.live.View`.

    Raises:
        SourceError: there is no Tk, or no screen.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise SourceError(
                "this Python has no Tk, which shows the window",
                hint="install it (Debian: apt install python3-tk), or use `headless`",
            ) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise SourceError(
                f"there is no screen to show the window on: {error}", hint="use `headless`"
            ) from error
        self._photo_of = ImageTk.PhotoImage
        self._gone = tkinter.TclError
        self._root.title(title)
        self._root.configure(background=DARK_PAPER)
        self._label = tkinter.Label(self._root, borderwidth=0, background=DARK_PAPER)
        self._label.pack()
        self._words = tkinter.Label(
            self._root, anchor="w", background=DARK_PAPER, foreground=DARK_INK, padx=10, pady=6
        )
        self._words.pack(fill="x")
        self._keys: list[str] = []
        self._photo: Any = None
        self._root.bind("<Key>", self._press)
        # Closing the window is a key too: the session ends at one place.
        self._root.protocol("WM_DELETE_WINDOW", lambda: self._keys.append("q"))

    def _press(self, event: Any) -> None:
        self._keys.append("q" if event.keysym == "Escape" else (event.char or "").lower())

    def show(self, pixels_hwc: NDArray[np.uint8], words: str) -> None:
        """Show pixels and a line of text below them."""
        image = Image.fromarray(pixels_hwc)
        image.thumbnail(LARGEST, Image.Resampling.BILINEAR)
        try:
            self._photo = self._photo_of(image)  # Tk does not keep the image alive
            self._label.configure(image=self._photo)
            self._words.configure(text=f"{words}        {HINT}")
            self._root.update()
        except self._gone:
            self._keys.append("q")

    def pressed(self) -> list[str]:
        """Return the keys pressed since the last call."""
        pressed, self._keys = self._keys, []
        return pressed

    def close(self) -> None:
        """Close the window."""
        try:
            self._root.destroy()
        except self._gone:
            return
