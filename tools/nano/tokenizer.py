"""Learns nano's tokenizer: byte-level BPE over the prompts of all tasks, digits always alone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

import regex

from kvl_eval.model.kimi_vl.tokenizer import PATTERN, KimiTokenizer, special_tokens

BASE_TOKENS = 1024
# Pieces of the thinking markers, so that they take 5 and 6 tokens as in the released vocabulary.
MARKER_PIECES = (b"\xe2\x97", b"\xe2\x96")


def byte_order() -> list[bytes]:
    """The 256 single bytes in the order of the GPT-2 and released vocabularies: printable ones first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [bytes([value]) for value in (*printable, *(b for b in range(256) if b not in printable))]


def learn(texts: Mapping[str, int] | Iterable[str], size: int = BASE_TOKENS) -> list[bytes]:
    """The `size` tokens in order of rank, learned from weighted texts. No token joins a digit to anything."""
    counts: Counter[str] = Counter()
    weights = texts.items() if isinstance(texts, Mapping) else ((text, 1) for text in texts)
    for text, weight in weights:
        for piece in regex.findall(PATTERN, text, flags=regex.V1):
            if not any(character.isdigit() for character in piece):
                counts[piece] += weight
    words = {tuple(bytes([b]) for b in piece.encode()): number for piece, number in counts.items()}
    tokens = [*byte_order(), *MARKER_PIECES]
    words = {_join(_join(word, (b"\xe2", b"\x97")), (b"\xe2", b"\x96")): number for word, number in words.items()}
    while len(tokens) < size:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, number in words.items():
            for pair in pairwise(word):
                pairs[pair] += number
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if b"".join(best) not in tokens:
            tokens.append(b"".join(best))
        words = {_join(word, best): number for word, number in words.items()}
    return tokens


def _join(word: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    out: list[bytes] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return tuple(out)


def build(texts: Mapping[str, int] | Iterable[str], size: int = BASE_TOKENS) -> KimiTokenizer:
    """A tokenizer with learned ranks and the published special tokens behind them."""
    ranks = {token: rank for rank, token in enumerate(learn(texts, size))}
    return KimiTokenizer(ranks, special_tokens(len(ranks)))
