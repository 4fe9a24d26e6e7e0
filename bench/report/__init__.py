"""`python -m bench.report`: writes bench/README.md and its plots from the results in bench/results."""
