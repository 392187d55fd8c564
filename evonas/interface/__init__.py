"""What people call from Python, where one call does what takes several parts: layers by name, whole searches."""
