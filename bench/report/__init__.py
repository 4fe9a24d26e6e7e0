"""`python -m bench.report`: the page bench/README.md and its plots, made from the results that are there."""
