"""Nonlinear conjugate gradients."""

from fastmlp.kernels import vectors
from fastmlp.solvers.line_descent import LineDescent, next_step, unit_step

# Of |g|^2: how steeply a direction has to descend, lest it be replaced by -g. SciPy's.
_LEAST_SLOPE = 0.01


class ConjugateGradient(LineDescent):
    """Conjugate gradients by Polak and Ribière, restarted along -g where they fail to descend.

    d <- -g + max(beta, 0) d with beta = g'(g - g_old) / g_old'g_old, and a line search for the
    strong Wolfe conditions with c1 1e-3 and c2 0.1. A quadratic of n parameters takes about n
    iterations. There is a restart wherever beta is negative, and where d'g > -0.01 g'g.

    It keeps two vectors and no matrix, and so is for any number of parameters.

    Polak & Ribière, Revue française d'informatique et de recherche opérationnelle 3(R1):35-43
    (1969), with the restarts of Gilbert & Nocedal, SIAM Journal on Optimization 2:21-42 (1992).

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("rosenbrock")
    >>> result = fastmlp.minimize(
    ...     problem.make_function(0), problem.make_start(0), optimizer=fastmlp.ConjugateGradient()
    ... )
    >>> result.theta.round(2)
    array([1., 1.])
    """

    @property
    def c2(self):
        return 0.1

    def start(self, function, x0):
        state = super().start(function, x0)
        # -g, until there is a step whose length is a guess at the next.
        return {**state, "direction": -state["gradient"], "first_step": 0.0, "conjugate": False}

    def direction(self, state):
        return state["direction"], state["first_step"] or unit_step(state["gradient"])

    def has_learnt(self, state):
        return bool(state["conjugate"])

    def forget(self, state):
        state.update(direction=-state["gradient"], first_step=0.0, conjugate=False)

    def learn(self, state, search, direction):
        gradient, old = search.gradient, state["gradient"]
        beta = vectors.dot.serial(gradient, gradient - old) / vectors.dot.serial(old, old)
        new = -gradient + max(beta, 0.0) * direction
        slope, steepest = vectors.dot.serial(gradient, new), vectors.dot.serial(gradient, gradient)
        conjugate = beta > 0.0 and slope <= -_LEAST_SLOPE * steepest
        if not conjugate:
            new, slope = -gradient, -steepest
        first_step = next_step(search.step, vectors.dot.serial(old, direction), slope)
        state.update(direction=new, first_step=first_step, conjugate=conjugate)
