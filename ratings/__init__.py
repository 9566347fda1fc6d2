"""Ratings from pairwise votes: arrays in, frozen results out."""
