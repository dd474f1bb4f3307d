"""Synthetic texts: what LLMs are asked, what of their answers is kept, and what that takes.

`conversations` is what is asked turn by turn, `filtering` which texts are rejected and why, `corpora` the corpora as
tables and files, `live_generation` makes all corpora of a profile, with live LLMs in many conversations at once.
`generation_cost` estimates tokens, cost and time before money is spent. `llms` sets corpora side by side, `figures` and
`display` show them; with `labelling` a live LLM labels real texts. A change of the prompts' order goes into
`conversations` (their words stand in the task's YAML file), a further reason to reject a text into `filtering`, a
further kind of corpus into `corpora`. May import `tables`, `figures`, `llm`, `data`, `tasks` and `core`.
"""
