"""Claims about speed and memory, one script each; every one checks equal results before it measures."""
