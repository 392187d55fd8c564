"""Activation steering: learned affine maps between distributions of activations (LinEAS), and its baselines."""

from evonas.studies.steering.fit import fit as fit
from evonas.studies.steering.intervention import Intervention as Intervention
from evonas.studies.steering.intervention import load as load
from evonas.studies.steering.maps import AffineMap as AffineMap
from evonas.studies.steering.methods import Method as Method
from evonas.studies.steering.methods import register_method as register_method
