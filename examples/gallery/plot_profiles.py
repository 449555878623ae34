"""
Which optimizer for which problem?
==================================

Six known problems, five starts each. A curve says of how many of them an optimizer needed no more
than so many times the gradients of the best one: further up is better, and its right end is the
share that it solved at all.
"""

import matplotlib.pyplot as plt

import fastmlp

problems = ["rosenbrock", "quadratic", "powell_singular", "wood", "beale", "helical_valley"]
optimizers = {
    "gradient descent": fastmlp.GradientDescent(),
    "conjugate gradient": fastmlp.ConjugateGradient(),
    "L-BFGS": fastmlp.LBFGS(),
    "BFGS": fastmlp.BFGS(),
    "SR1": fastmlp.SR1(),
}
compared = fastmlp.compare_problems(problems, optimizers, gradient_evaluations=1000, seeds=5)
profile = compared.profile()

figure, panel = plt.subplots()
for name, fraction in profile.fractions.items():
    panel.step(profile.factors, fraction, where="post", label=name)
panel.set(
    xscale="log",
    xlabel="gradients, as a multiple of the best optimizer's",
    ylabel="share of runs solved",
    ylim=(0, 1.02),
)
panel.legend(loc="lower right", fontsize="small")
plt.show()
