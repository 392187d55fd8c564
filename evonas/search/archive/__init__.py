"""The archive of a run: what is recorded of a search, how it is read, checked, copied and saved from damage."""

from evonas.search.archive.archive import Archive as Archive
