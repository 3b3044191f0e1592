"""What people look at: charts, pictures, tables, and the pages that a study's notebooks become.

Modules that notebooks import: charts and pictures draw, tables, show_run and show_study give HTML. pages and render
turn executed notebooks into reports/ (`python -m koala.report`).
"""
