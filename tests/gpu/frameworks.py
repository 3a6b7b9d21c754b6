"""A framework's own kernels, for `kit flip`: the same computation over and over, each result compared bit by
bit.

    python frameworks.py torch|cupy

Says "ready" when it has computed the undisturbed result, computes until its standard input ends, then says
how often it did and how many results differed.
"""

import sys
import threading
from collections.abc import Callable

WARM_UPS = 3

Compute = Callable[[], bool]  # computes once; whether the result is the undisturbed one


def torch_transformer() -> Compute:
    """Two encoder layers in float32: products, softmax, normalisations, and a copy out."""
    import torch

    torch.manual_seed(7)
    layer = torch.nn.TransformerEncoderLayer(d_model=1024, nhead=16, dim_feedforward=4096, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False).eval().cuda()
    tokens = torch.randn(8, 256, 1024).cuda()

    def forward() -> "torch.Tensor":
        with torch.inference_mode():
            return model(tokens).cpu()

    for _ in range(WARM_UPS):
        expected = forward()
    return lambda: torch.equal(forward(), expected)


def cupy_products() -> Compute:
    """Matrix products with element-wise work between them."""
    import cupy

    cupy.random.seed(7)
    left = cupy.random.standard_normal((2048, 2048), dtype=cupy.float32)
    right = cupy.random.standard_normal((2048, 2048), dtype=cupy.float32)

    def product() -> bytes:
        value = left
        for _ in range(4):
            value = cupy.tanh(value @ right / 45.0)
        return cupy.asnumpy(value).tobytes()

    for _ in range(WARM_UPS):
        expected = product()
    return lambda: product() == expected


def main(name: str) -> None:
    compute = {"torch": torch_transformer, "cupy": cupy_products}[name]()
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("ready", flush=True)
    runs = wrong = 0
    while not over.is_set():
        wrong += not compute()
        runs += 1
    print(f"result runs={runs} wrong={wrong}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
