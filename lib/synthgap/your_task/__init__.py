"""Files of texts that people bring along, and the verdict: is what an LLM wrote good enough for their classifier?

`arguments` reads the command line; `files` makes a task, its splits and corpora of the files, and refuses what cannot
be compared; `unlabelled` has a live LLM label a file first; `checks` finds faults in labelled texts; `comparison`
trains on them and measures; `verdict` makes sentences of the numbers, and what has to be said before them; `figures` is
what is drawn from saved tables. A new kind of file or a rule on labels goes into `files`, a new sentence into
`verdict`. May import `evaluation` and the rooms below it.
"""
