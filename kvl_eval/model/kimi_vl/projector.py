"""The MLP that carries merged patches into the language model's embedding space (arXiv 2504.07491, section 2.1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from kvl_eval.model.kimi_vl.config import KimiVLConfig


class Projector(nn.Module):
    """LayerNorm on each patch, then two linear layers over the joined cell with the exact (erf) GELU between."""

    def __init__(self, config: KimiVLConfig) -> None:
        super().__init__()
        width = config.vision_config.merged_size
        self.pre_norm = nn.LayerNorm(config.vision_config.hidden_size, eps=1e-5)
        self.linear_1 = nn.Linear(width, width)
        self.linear_2 = nn.Linear(width, config.text_config.hidden_size)

    def forward(self, image_features: Tensor) -> Tensor:
        """(M, 4, C) merged patches to (M, H) embeddings."""
        joined = self.pre_norm(image_features).flatten(-2)
        return self.linear_2(F.gelu(self.linear_1(joined)))  # type: ignore[no-any-return]
