"""Activation steering: learned affine maps between distributions of activations (LinEAS), and its baselines."""

from evonas.studies.steering import Intervention as Intervention
from evonas.studies.steering import fit as fit
