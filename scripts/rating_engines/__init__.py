"""One module per rating engine, ours and its peers, for `scripts/bench_ratings.py`.

A module imports its engine at the top and has a function per task it can do (`arrays`, `names`,
`style`, `bootstrap`…). Each takes the votes and returns a `Job`; what it does before that is not
timed, so that every engine starts from the input it likes best.
"""
