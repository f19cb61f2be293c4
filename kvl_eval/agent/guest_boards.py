"""Runs in a sandboxed desktop: shows boards one after the other and writes down where a button was pressed.

`python3 guest_boards.py BOARD.png...`; every press leads to the next board, after the last one to an empty screen.
"""

from __future__ import annotations

import json
import os
import sys
import tkinter
from collections.abc import Sequence
from pathlib import Path

STATE = Path("/home/user/.state")
EMPTY = "#6e6e6e"  # the gray of drawn desktops
BUTTONS = (1, 2, 3)  # the wheel has others


def show(paths: Sequence[str]) -> None:
    """Show the boards; comes back when the desktop ends."""
    root = tkinter.Tk()
    width, height = root.winfo_screenwidth(), root.winfo_screenheight()
    root.overrideredirect(True)
    root.geometry(f"{width}x{height}+0+0")
    root.config(cursor="none")  # a pointer would change the screen
    canvas = tkinter.Canvas(root, width=width, height=height, highlightthickness=0, background=EMPTY)
    canvas.pack()
    boards = [tkinter.PhotoImage(file=path) for path in paths]
    shown = canvas.create_image(0, 0, image=boards[0], anchor="nw")
    presses: list[tuple[int, int]] = []

    def press(event: tkinter.Event[tkinter.Misc]) -> None:
        if event.num not in BUTTONS or len(presses) >= len(boards):
            return
        presses.append((event.x_root, event.y_root))
        if len(presses) < len(boards):
            canvas.itemconfigure(shown, image=boards[len(presses)])
        else:
            canvas.delete(shown)
        root.update()
        tell(presses)

    root.bind("<ButtonPress>", press)
    root.update()
    tell(presses)
    root.mainloop()


def tell(presses: Sequence[tuple[int, int]]) -> None:
    """Replace the state at once, so that it is never read half written."""
    new = STATE.with_suffix(".new")
    new.write_text(json.dumps(presses), encoding="ascii")
    os.replace(new, STATE)


if __name__ == "__main__":
    show(sys.argv[1:])
