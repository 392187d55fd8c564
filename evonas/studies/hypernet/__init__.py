"""Networks whose parameters are predicted from an input, with magnitude-invariant parametrization."""

from evonas.studies.hypernet.network import HyperNetwork as HyperNetwork
