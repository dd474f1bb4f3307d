"""Why classifiers trained on synthetic texts lose against those trained on real ones.

`draws` puts each draw of a corpus's texts beside a draw of as many real ones, and holds the probe that is fitted to
either; `summary` makes means and intervals over draws, recordings and tasks of what was found on each pair of draws.
`texts` asks what tells the texts apart, what their length explains, and which of them recite real ones; `labels`
whether labels mean the same, and what cleaning them helps; `decisions` what classifiers decide too often and how sure
they are; `figures` is what is drawn from saved tables. A new cause or remedy is a function of one pair of draws that
gives {measure: value}, in the file of its subject. May import `evaluation` and the rooms below it.
"""
