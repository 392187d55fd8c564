"""The card of a layer: what is known of it from all sides, what that costs, and what is not known."""
