"""Agents that use a computer: typed actions, prompts and parsers, desktops, and the loop that plays an episode."""
