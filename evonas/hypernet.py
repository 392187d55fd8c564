"""Networks whose parameters are predicted from an input, with magnitude-invariant parametrization."""

from evonas.studies.hypernet import HyperNetwork as HyperNetwork
