"""What a run leaves behind: outcomes of candidates, pictures, and TensorBoard logs."""
