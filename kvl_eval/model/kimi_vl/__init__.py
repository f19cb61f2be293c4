"""Kimi-VL (arXiv 2504.07491): configuration, processor, vision tower and language model. Importing this is free."""
