"""What training on a corpus costs: scores with intervals, paired tests, Table 1, learning and training curves, mixes.

Everything is made from predictions on the test split and needs no texts. `scores` holds scores and their bootstrap,
`gaps` the differences between corpora and their tests, `learning_curves` the worth of a synthetic text, `mixes` what
synthetic texts add to real ones, `training_curves` how training goes by epoch, `power` how sure so many tasks can be,
`table_1` Table 1 as people read it, `llm_as_classifier` what the LLM scores itself, `figures` all that is drawn. A
change of a statistic goes where it is computed, a change of how it looks into `table_1` or `figures`. May import
`training`, `tables`, `figures` and what lies below them; the rooms `subjectivity` and `diversity` import its
statistics.
"""
