"""Whether what is found holds beyond one LLM, and on later texts.

`pipelines` sets the LLMs of one pipeline side by side; `forecast` foretells a corpus's gap from what needs no label of
the test; `transfer` compares gaps on the test split with those on further test sets; `figures` is what is drawn from
saved tables. May import `causes`, `diversity`, `evaluation` and the rooms below them.
"""
