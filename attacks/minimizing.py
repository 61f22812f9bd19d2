"""Base class of attacks that minimize the perturbation."""

from __future__ import annotations

from dermrobust.attacks.attack import Attack


class Minimizing(Attack):
    """An attack that finds a misclassified image as near to the clean one as it can, within the budget.

    One run at the largest budget therefore tells the result at every smaller one: an image that is farther than a
    budget withstood it. If the problem stops at success it may stop at any image within the budget.
    """
