"""How subjective tasks and texts are, and whether classifiers fail where people disagree: notebook 04.

`ranking` orders tasks by judges' comparisons, `agreement` measures annotators, `agreement_sources` says whose
judgements there are and makes Table 2, `accuracy_by_agreement` sets predictions beside them, `predicted_agreement`
asks whether an LLM foresees disagreement, `over_time` whether disagreement changes, `panel_size` how many annotators an
agreement needs; `collect`, `label_studio` and `panel` gather judgements of one's own;
`tables` keeps people and simulations apart; `figures` draws from saved tables. A new kind of annotator is a function
in `agreement_sources`. May import evaluation, training, tables, figures, data, tasks and core.
"""
