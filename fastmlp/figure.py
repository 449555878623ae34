"""A figure that a notebook shows; matplotlib is imported here alone."""

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that shows itself where it is the value of a notebook's cell.

    It is unknown to pyplot, which would keep it open, and in a notebook show it a second time.
    """

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png")
        return image.getvalue()
