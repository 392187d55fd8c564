"""Activation steering: learned affine maps between distributions of activations (LinEAS), and its baselines."""

from evonas.steering.fitting import fit as fit
from evonas.steering.intervention import Intervention as Intervention
