"""What is trained, on what, where, and what was predicted: everything that notebook 02 calls.

`texts` reads what runs train on; `runs` says what a run is and plans those of the grid and of the learning curves,
`mixes` plans those that 06 reads; `grid` trains what is missing, in `workers` of this machine or on a `cluster`;
`store` keeps finished runs, and `predictions` reads them for all notebooks. `classifiers`, with `base`, `embeddings`
and `finetuning` (its `accelerations` and `probe_head`), know nothing of runs: a new classifier goes there, and its
settings into `core.settings`. Whatever changes what unchanged settings compute raises `runs.RUN_FORMAT`.
`training_time` estimates. May import generation, tables, data, tasks and core.
"""
