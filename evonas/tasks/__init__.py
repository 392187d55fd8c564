"""What a candidate layer is tried on: data, architecture, loss and metric."""
