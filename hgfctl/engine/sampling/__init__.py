"""From a budget of network evaluations to items.

`plan` chooses a solver and a grid (`best` holds what measured best, `optimized_grids` what was searched for one model)
and keeps the budget (`call_cost` prices guided calls); `sampler` draws items by their seeds. `consistency`, `hmc` and
`langevin` sample models that are no flows. `choose` finds the sampler of a model.
"""
