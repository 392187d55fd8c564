"""Racing: while a search runs, its best layers are measured again, and all goes by what is believed of them then."""
