"""kvl-eval: reproduce, explain and trust vision-language benchmark numbers."""

__version__ = "0.1.0"
