"""The matrix: layers x architectures x data, each trained under several seeds, with what the layers cost."""
