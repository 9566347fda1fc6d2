"""The embedded demo: models from package wheels, so that a first battle needs no key."""
