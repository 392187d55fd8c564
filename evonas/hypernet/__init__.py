"""Networks whose parameters are predicted from an input, with magnitude-invariant parametrization."""

from evonas.hypernet.network import HyperNetwork as HyperNetwork
