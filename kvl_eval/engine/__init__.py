"""Continuous batching over pages of any model that `kvl_eval.model.base` describes. It knows no architecture."""
