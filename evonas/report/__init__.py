"""What people look at: tables, statistics, pictures and TensorBoard."""
