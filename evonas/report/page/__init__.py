"""Pages that are one HTML file: opened by a double click, without a server and without a network."""
