"""Attention of a later chunk of a prompt, on a CPU.

Shapes: B rows, S new tokens, T tokens attended to, A heads of size D, values of size V.
"""

import torch
from torch import Tensor


def attend_apart(q_BASD: Tensor, k_BATD: Tensor, v_BATV: Tensor) -> Tensor:
    """Attention of the last S of T tokens to those before them and themselves, without a mask: (B, A, S, V), S < T.

    What came before and the new tokens are attended to by themselves, and added up by their shares of the softmax.
    A mask would be turned into S * T floats in each layer: at 131,072 tokens a gigabyte, and a third of the time.
    """
    held = k_BATD.shape[2] - q_BASD.shape[2]
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # gives the logarithm of each sum, too
    before, sum_before = attend(q_BASD, k_BATD[:, :, :held], v_BATV[:, :, :held], 0.0, False)
    own, sum_own = attend(q_BASD, k_BATD[:, :, held:], v_BATV[:, :, held:], 0.0, True)
    share = torch.sigmoid(sum_before - sum_own)[..., None]
    return torch.lerp(own.to(share.dtype), before.to(share.dtype), share).to(own.dtype)
