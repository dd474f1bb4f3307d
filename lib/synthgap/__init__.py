"""synthgap: when can text written by an LLM replace real training data for a text classifier?

Rooms are named like the notebooks: `generation`, `training`, `evaluation`, `subjectivity` and `diversity` hold what
these call, `pipeline` steps through them. Below lie `tables` and `figures` (how all results look), `llm`, `data`,
`tasks` and `core`. Importing the package loads nothing else; a room may import those below it only.
"""

__version__ = "0.2.0"
