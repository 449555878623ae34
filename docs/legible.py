"""Are figures legible in greyscale, and by eyes that see other colours?"""

from itertools import combinations

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer
from matplotlib.lines import Line2D

# Of 100, between two areas or markers of one shape: about a step of a scale of five greys.
LEAST_CONTRAST = 20


def faults(figure):
    """A sentence for each pair that colour alone tells apart, and for each ambiguous colour map.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    list of str
    """
    found = []
    for panel in figure.axes:
        entries = zip(*panel.get_legend_handles_labels(), strict=True)
        looks = [(label, *_look(one)) for one, label in entries]
        for (first, shape, dark), (second, other, darker) in combinations(looks, 2):
            if shape == other and abs(dark - darker) < LEAST_CONTRAST:
                found.append(f"{first!r} and {second!r} differ in colour alone")
        for one in panel.get_children():
            if isinstance(one, ScalarMappable) and one.get_array() is not None:
                steps = np.diff([_lightness(color) for color in one.cmap(np.linspace(0, 1, 64))])
                if not (np.all(steps > -0.5) or np.all(steps < 0.5)):
                    found.append(f"the lightness of {one.cmap.name!r} rises and falls")
    return found


def _look(one):
    """What is left of an entry of a legend without its hue: shape and lightness, 0 to 100."""
    if isinstance(one, BarContainer):
        one = one.patches[0]
    if isinstance(one, Line2D):
        stroke = one.get_linestyle(), one._unscaled_dash_pattern[1], one.get_marker()
        return stroke, _lightness(one.get_color())
    if isinstance(one, Collection):
        shape = tuple(map(tuple, one.get_paths()[0].vertices.round(3)[:8].tolist()))
        colors = one.get_facecolor() if len(one.get_facecolor()) else one.get_edgecolor()
        return (type(one).__name__, one.get_hatch(), shape), _lightness(colors[0])
    return (type(one).__name__, one.get_hatch()), _lightness(one.get_facecolor())


def _lightness(color):
    """L* of CIE 1976 of a colour in sRGB, by IEC 61966-2-1."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * np.cbrt(y) - 16 if y > 0.008856 else 903.3 * y
