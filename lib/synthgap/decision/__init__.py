"""What to do with a budget of real labels, and of money.

`winners` tells which strategy scores best at so many real labels spent, by how much and how sure that is; `rule`
chooses one without a test set, from a few real labels, and counts what the choice loses against the best; `costs` turns
strategies into money and time, for prices that the reader names; `figures` is what is drawn from saved tables. The
strategies themselves are planned in `training.strategies`. May import `causes`, `evaluation` and the rooms below them.
"""
