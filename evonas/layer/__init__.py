"""From the graph to a torch module: lowering through torch.fx, and export as a stand-alone file."""
