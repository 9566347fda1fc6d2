"""Arena: blind pairwise battles between generative models."""

__version__ = "0.1.0"
