"""How varied the texts of each corpus are, how like those of the reference, and whether test texts slipped in.

`texts` reads and embeds what is compared, `distances` holds the distances within a set of embeddings, `measures` the
tables of diversity made of them and the relation to scores, `similarity` how near the reference's texts lie to the
other corpora's, `contamination` the test texts that other texts repeat, `maps` pictures of the texts by meaning, and
`figures` what is drawn from saved tables. A new measure of diversity goes into `measures`, another comparison of texts
with texts into a file of its own. May import `evaluation` and the rooms below it.
"""
