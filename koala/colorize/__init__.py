"""A trained network applied to photographs of any size: gray in, colour out.

`load` a painter (of a run, or of the network that comes with koala) and `colour` an array or a file with it. For many files:
`find` them, `targets` names the results, `paint_all` colours and reports each. `python -m koala.colorize` does all of it.
"""

from koala.colorize.files import find, is_own, read, targets
from koala.colorize.many import paint_all
from koala.colorize.painter import Painter, colour, load

__all__ = ["Painter", "colour", "find", "is_own", "load", "paint_all", "read", "targets"]
