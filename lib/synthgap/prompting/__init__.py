"""What a prompt changes: real examples, a guideline, and prompts for more diversity.

`variants` says which comparisons ask which of these, and what each variant's control is; `effects` what a variant
changes in scores and in diversity, and what share of the examples' advantage a guideline has; `sample_size` how many
recordings and texts tell a difference of so many points; `figures` is what is drawn from saved tables. Another question
about prompts is another comparison in a profile, with `question: prompts`. May import `diversity`, `evaluation` and the
rooms below.
"""
