"""A Matplotlib back end that draws like Agg. Its `show` saves each open figure as plot.png, plot-2.png, …"""

import sys

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

# `sitecustomize.py` has added it at Python's start.
(save_as,) = (finder.save_as for finder in sys.meta_path if getattr(finder, "__name__", "") == "FindForSlots")


class FigureManager(FigureManagerBase):
    @classmethod
    def pyplot_show(cls, *, block=None):
        save_open_figures()


class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager


def show(*_, **__):
    save_open_figures()


def save_open_figures():
    """Saves the open figures and closes them, as if the user had closed their windows."""
    for manager in Gcf.get_all_fig_managers():
        save_as("plot", manager.canvas.figure.savefig)
    Gcf.destroy_all()
