"""The engine: everything hgfctl knows about Hamiltonian flows. It never prints and never reads the command line.

Its rooms, from the ground up; a room imports only from those before it (`lint-imports` checks that):

    provided                what the engine gives to the constructors of parts
    randomness, checks      seeds, and what numbers must be
    phase_space             positions, velocities and times
    expressions             formulas, read without running code
    ranks, precision        the processes that share the work, and the arithmetic they do it in
    geometry                shapes that positions live on, without flows
    integrators             Hamiltonian ODEs for any force
    statistics              distances and tests between sets of numbers
    data                    where x0 comes from: analytic densities, digits, image files
    features                what images are turned into before sets of them are compared
    flows                   forces, velocity laws, states, priors
    oracles                 exact velocity predictors of known densities
    solvers                 methods and time grids for dx/dt = V
    models                  networks, and the velocity predictors and scores that wrap them
    losses                  what is minimised
    sampling                from a budget of network evaluations to items
    transport               along a flow both ways: latents, likelihoods, inpainting
    parts                   the parts that a configuration names
    checkpoint              a trained model, read from a file
    compatibility           whether parts fit each other
    experiment              everything that training needs
    metrics                 how good scores and forces are
    evaluation              how good images and points are
    figures                 one module a figure
    training                the loop, averages, schedules, run folders
    paper, conversion       the paper's figures; other programs' weights
"""
