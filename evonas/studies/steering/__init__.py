"""Activation steering: learned affine maps between distributions of activations (LinEAS), and its baselines."""

from evonas.studies.steering.fit import fit as fit
from evonas.studies.steering.intervention import Intervention as Intervention
