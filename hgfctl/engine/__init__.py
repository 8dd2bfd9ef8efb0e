"""The engine: everything hgfctl knows about Hamiltonian flows. It never prints and never reads the command line.

Its rooms, from the ground up; a room imports only from those before it:

    data         where x0 comes from: analytic densities, digits, image files
    flows        phase space: forces, velocity laws, closed-form states, priors, exact HVPs
    integrators  Hamiltonian ODEs for any force
    models       networks, and the HVPs and scores that wrap them
    losses       what is minimised
    solvers      dx/dt = V on a budget of network evaluations
    metrics      how good samples and scores are
    training     the loop, EMA, schedules
    figures      one module a figure
    randomness, precision, ranks    what several rooms need: seeds, arithmetic, the processes that share the work
    assembly     from a configuration or a checkpoint to the objects above
"""
