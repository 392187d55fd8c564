"""Activation steering: learned affine maps between distributions of activations (LinEAS), and its baselines."""

from evonas.studies.steering import AffineMap as AffineMap
from evonas.studies.steering import Intervention as Intervention
from evonas.studies.steering import Method as Method
from evonas.studies.steering import fit as fit
from evonas.studies.steering import load as load
from evonas.studies.steering import register_method as register_method
