"""What a card computes and how fast, as one Markdown page: `python -m benchmarks.gpu_check [--out FILE]`.

From a fresh checkout on a machine with a card, nothing installed and nothing fetched:

    python3 -m benchmarks.gpu_check --out gpu_check.md       # in the repository's folder

It needs Python 3.11 or newer with torch for that card, numpy, pillow, safetensors, tiktoken and tokenizers, and for its
last section pytest, pytest-xdist and hypothesis; images with PyTorch have most of them. kvl-eval itself need not be
installed. `--minutes 8` bounds the whole; each section has its share, and what one does not use goes to those behind
it. Lines are written as they are measured, so that a run which is cut short leaves a page all the same.

Sections: the machine; numbers and answers against the CPU (small checkpoints of both architectures, bundled or
made here); a random Kimi-VL of full size, built on the card; decode and prefill as shares of the least time there is
for them; operations, kernels and reads by the host; `pytest -m gpu`. A section that fails is a line with its reason;
the others go on. Exit code 1: a check does not hold, or did not end; with `--strict` also where anything is missing.

Without a card the CPU does the same at its smallest size, which shows that the script works and measures nothing.
"""
