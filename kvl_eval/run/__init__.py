"""A run: what was asked (config), what will be asked (plan), asking it (runner, session), showing how far it is."""
