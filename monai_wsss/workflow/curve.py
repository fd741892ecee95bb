"""Curves of scores over epochs as a small picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from monai_wsss.data import atomic_path
from monai_wsss.workflow.tracking import Tracker

_SIZE, _BOX, _FONT = (640, 400), (48, 16, 490, 356), 14  # pixels; the axes' left, top, right and bottom
_SMOOTH = 3  # drawn so many times larger, as Pillow's lines have no smooth edges
_DOT = 3 * _SMOOTH
_COLOURS = ((200, 40, 40), (30, 110, 200), (20, 20, 20), (150, 150, 150), (220, 150, 20), (70, 150, 60))


def save_curves(
    path: Path,
    epochs: Sequence[int],
    curves: Mapping[str, Sequence[float | None]],
    title: str = "epoch",
    tracker: Tracker | None = None,
) -> None:
    """Write a PNG with one line a score.

    Args:
        path: file to write.
        epochs: places along the horizontal axis, ascending, one at least.
        curves: values in [0, 1] by name, one an epoch; None is left out.
        title: of the horizontal axis.
        tracker: receives the picture.
    """
    left, top, right, bottom = (_SMOOTH * edge for edge in _BOX)
    page = Image.new("RGB", (_SMOOTH * _SIZE[0], _SMOOTH * _SIZE[1]), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_SMOOTH * _FONT)
    span = max(epochs[-1] - epochs[0], 1)

    def place(epoch: float, value: float) -> tuple[float, float]:
        return left + (right - left) * (epoch - epochs[0]) / span, bottom - (bottom - top) * value

    for tenth in range(0, 11, 2):
        _, y = place(epochs[0], tenth / 10)
        draw.line((left, y, right, y), fill=(225, 225, 225), width=_SMOOTH)
        draw.text((left - 6 * _SMOOTH, y), f"{tenth / 10:.1f}", fill="black", font=font, anchor="rm")
    shown = epochs[:: -(-len(epochs) // 10)]  # ten numbers at most
    for epoch in shown:
        draw.text((place(epoch, 0)[0], bottom + 5 * _SMOOTH), str(epoch), fill="black", font=font, anchor="mt")
    draw.text(((left + right) / 2, bottom + 22 * _SMOOTH), title, fill="black", font=font, anchor="mt")
    for number, (name, values) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [place(epoch, value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
        if len(points) > 1:
            draw.line(points, fill=colour, width=2 * _SMOOTH, joint="curve")
        for x, y in points:
            draw.ellipse((x - _DOT, y - _DOT, x + _DOT, y + _DOT), fill=colour)
        y = top + (12 + 22 * number) * _SMOOTH
        draw.line((right + 14 * _SMOOTH, y, right + 34 * _SMOOTH, y), fill=colour, width=2 * _SMOOTH)
        draw.text((right + 40 * _SMOOTH, y), name, fill="black", font=font, anchor="lm")
    with atomic_path(path) as part:
        page.resize(_SIZE, Image.Resampling.LANCZOS).save(part)
    if tracker is not None:
        tracker.log_picture(path)
