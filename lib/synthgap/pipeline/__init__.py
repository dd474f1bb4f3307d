"""How the notebooks are run one after another, and what holds their results together.

`stages` is a notebook's view of its stage (what it reads, writes and shows), `validity` says whether a finished stage
still holds, with `code_digest` for what its code means; `runner` executes notebooks, through papermill in `notebooks`,
`manifest` keeps what was run on what, `plan` estimates it before. `drawings` names all figures, `report` makes
report.html of them, `verify` compares regenerated tables with committed ones, `publish` writes the generated texts as
a data set, and `commands` is what the command line calls. A new notebook is a line in `validity.STAGES` and its section
in `report`. Whatever concerns one notebook's subject belongs into that notebook's room and not here. May import every
other room.
"""
