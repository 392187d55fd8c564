"""How large and how deep input may be, in one place: beyond it, a file is refused before it costs time or memory."""

import os

MEBIBYTE = 2**20

LARGEST_SETTINGS = MEBIBYTE  # bytes of a file of settings
LARGEST_LAYER = MEBIBYTE  # characters of a layer, as text, as a formula or as JSON
LARGEST_RECORD = 256 * MEBIBYTE  # bytes of a JSON file that evonas writes itself
LARGEST_BOOK = 64 * MEBIBYTE  # bytes of a packed collection of texts, packed
DEEPEST = 32  # levels of tables and arrays
LONGEST_KEY = 500  # parts of a key with dots
MOST_NODES = 10_000  # nodes of a layer
MOST_DRAWN = 300  # nodes of a layer of which there is a picture
MOST_CLASSES = 100_000  # classes of images; each has weights in the last layer of a network
MOST_PIXELS = 2**27  # pixels of an image with annotations
LARGEST_COUNT = 2**31 - 1  # whatever is counted: steps, channels, images
LARGEST_SEED = 2**62  # seeds that follow one another still fit into 64 bits
LONGEST_SHOWN = 800  # characters of one part of an error message
MOST_LISTED = 40  # names in an error message


def memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
