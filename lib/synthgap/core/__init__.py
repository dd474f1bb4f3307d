"""What everything else stands on: the settings of a profile, the one user-facing error, atomic files, and paths.

`config` says what a profile may hold, with `settings` for LLMs, corpora and classifiers; `yaml_files` reads it;
`paths` says where things are, `files` writes files that are whole or absent, `errors` has the error that is told to
users in a sentence, `terminal` prints nothing that steers a terminal, `versions` names what computes. Nothing here
knows of texts, classifiers or notebooks. Imports no other room.
"""
