"""The ground floor: errors with one sentence, paths and atomic files, parameters, progress, devices, downloads.

Nothing here knows about photographs or networks. The package imports nothing, so that a wrong parameter is
reported before torch is loaded: import its modules (`from koala.system.progress import Progress`).
"""
