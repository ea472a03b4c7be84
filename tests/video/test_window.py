"""The window of live images, on a Tk that records what it was asked for: no screen is needed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import SourceError
from mien.video.window import HINT, LARGEST, TkWindow


class TclError(Exception):
    """What Tk raises once its window is gone."""


class Widget:
    """A Tk window or label: keeps its options, its handlers and whether it was destroyed."""

    def __init__(self, parent: object = None, **options: Any) -> None:
        self.options, self.handlers = options, dict[str, Any]()
        self.destroyed = False

    def configure(self, **options: Any) -> None:
        if self.destroyed:
            raise TclError("invalid command name")
        self.options |= options

    def pack(self, **_: Any) -> None: ...

    def title(self, text: str) -> None:
        self.options["title"] = text

    def bind(self, event: str, handler: Any) -> None:
        self.handlers[event] = handler

    protocol = bind

    def update(self) -> None:
        if self.destroyed:
            raise TclError("application has been destroyed")

    def destroy(self) -> None:
        if self.destroyed:
            raise TclError("application has been destroyed")
        self.destroyed = True


@pytest.fixture
def widgets(monkeypatch: pytest.MonkeyPatch) -> list[Widget]:
    """The widgets that are made, in order: the window, the image, the words."""
    made: list[Widget] = []

    def make(*arguments: Any, **options: Any) -> Widget:
        made.append(Widget(*arguments, **options))
        return made[-1]

    tkinter: Any = ModuleType("tkinter")
    tkinter.Tk, tkinter.Label, tkinter.TclError = make, make, TclError
    image_tk: Any = ModuleType("PIL.ImageTk")
    image_tk.PhotoImage = Image.Image.copy
    monkeypatch.setitem(sys.modules, "tkinter", tkinter)
    monkeypatch.setitem(sys.modules, "PIL.ImageTk", image_tk)
    monkeypatch.setattr("PIL.ImageTk", image_tk, raising=False)
    return made


def press(window: Widget, char: str, keysym: str = "") -> None:
    window.handlers["<Key>"](SimpleNamespace(char=char, keysym=keysym or char))


def test_frames_are_shown_with_words_and_the_keys(widgets: list[Widget]) -> None:
    window = TkWindow("camera 0")
    root, picture, words = widgets
    assert root.options["title"] == "camera 0"
    pixels = np.full((40, 60, 3), 7, np.uint8)
    window.show(pixels, "12 images/s")
    assert np.asarray(picture.options["image"]).tolist() == pixels.tolist()
    assert words.options["text"].startswith("12 images/s ")
    assert words.options["text"].endswith(HINT)


def test_a_large_frame_is_scaled_down_and_keeps_its_proportions(widgets: list[Widget]) -> None:
    TkWindow("camera").show(np.zeros((2160, 3840, 3), np.uint8), "")
    assert widgets[1].options["image"].size == (LARGEST[0], LARGEST[0] * 9 // 16)


def test_keys_are_returned_once_in_lower_case(widgets: list[Widget]) -> None:
    window = TkWindow("camera")
    press(widgets[0], "P")
    press(widgets[0], "s")
    press(widgets[0], "\x1b", "Escape")
    press(widgets[0], "", "Shift_L")  # a key without a character
    assert window.pressed() == ["p", "s", "q", ""]
    assert window.pressed() == []


def test_closing_the_window_quits(widgets: list[Widget]) -> None:
    window = TkWindow("camera")
    widgets[0].handlers["WM_DELETE_WINDOW"]()
    assert window.pressed() == ["q"]


def test_a_window_that_is_gone_quits_and_can_be_closed_again(widgets: list[Widget]) -> None:
    window = TkWindow("camera")
    window.close()
    assert widgets[0].destroyed
    window.show(np.zeros((4, 4, 3), np.uint8), "")
    assert window.pressed() == ["q"]
    window.close()


def test_no_screen_is_an_error_with_a_way_out(
    widgets: list[Widget], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Widget:
        raise TclError("no display name and no $DISPLAY environment variable")

    monkeypatch.setattr("tkinter.Tk", refuse)
    with pytest.raises(SourceError, match="no screen to show the window on: no display") as error:
        TkWindow("camera")
    assert "headless" in error.value.hint


def test_a_python_without_tk_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(SourceError, match="has no Tk") as error:
        TkWindow("camera")
    assert "python3-tk" in error.value.hint
