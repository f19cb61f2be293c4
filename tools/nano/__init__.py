"""Drawings, tokenizer and training mixture of the embedded demo model kimi-vl-nano."""
