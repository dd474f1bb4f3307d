"""synthgap: when can text written by an LLM replace real training data for a text classifier?

The modules follow the data: `config` and `tasks` say what is asked, `data` and `generation` give texts,
`classifiers` and `runs` train on them, `evaluation` scores, `tables`, `figures` and `show` present,
`stages`, `runner` and `manifest` step through the notebooks. Importing the package loads none of the heavy libraries.
"""

__version__ = "0.1.0"
