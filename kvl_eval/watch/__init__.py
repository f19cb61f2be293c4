"""Nightly runs: what the file asks for, what the nights say, and the page that shows them."""
