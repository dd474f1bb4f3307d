"""Texts that were not made here: real ones, annotated ones, and those of others' LLMs.

`real` reads and checks a task's texts from the package, a folder or the hub (`hub`), `annotated` those that several
people judged one by one, `further` test sets of another time or place, `imported` files that somebody
else's LLM wrote, `labelled` what an LLM took real texts for.
`draws` decides which texts are taken, at equal size and from a seed alone; `duplicates` finds repeats. A new source of
texts goes here; what is computed from texts goes into the room of its notebook. May import `tasks` and `core`.
"""
