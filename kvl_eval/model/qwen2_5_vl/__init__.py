"""Qwen2.5-VL (arXiv 2502.13923): a vision tower with window attention and a grouped-query language model."""
