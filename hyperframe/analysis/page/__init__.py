"""The page of a report: one HTML file that loads nothing from the network and needs no other file.

- `document`: the whole page
- `conclusions`: its first screen, the conclusions that the evaluation and the analyses have drawn
- `comparison`: the run beside others
- `elements`: pictures, tables and interactive elements of a section
- `texts`: escaped texts, rows of tables, and plain data that unfold
"""
