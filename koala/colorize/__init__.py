"""A trained run applied to pictures of any size: gray in, colour out.

`load` a painter (a run, or the network that comes with koala), `colour` an array, `paint_file` a file; `find_pictures`
and `targets` say which files and where to.
"""

from koala.colorize.painter import (
    Painter,
    colour,
    find_pictures,
    find_run,
    load,
    paint_file,
    read,
    targets,
    thumbnail,
)

__all__ = [
    "Painter",
    "colour",
    "find_pictures",
    "find_run",
    "load",
    "paint_file",
    "read",
    "targets",
    "thumbnail",
]
