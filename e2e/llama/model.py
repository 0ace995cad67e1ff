"""Writes a small Llama model of random weights: model.py OUTPUT.gguf

What it says means nothing. A real engine reads it, samples from it and obeys grammars with it, which is all
that is wanted. The same numbers every time: the generator is seeded.
"""

import sys

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 4096
SPECIAL = ["<unk>", "<s>", "</s>"]
PRINTABLE = [chr(code) for code in range(33, 127)] + ["\u2581"]


def vocabulary():
    """Special tokens, every byte, and the printable characters as tokens of their own."""
    kinds = gguf.TokenType
    rows = [(SPECIAL[0], 0.0, kinds.UNKNOWN), (SPECIAL[1], 0.0, kinds.CONTROL), (SPECIAL[2], 0.0, kinds.CONTROL)]
    rows += [(f"<0x{byte:02X}>", 0.0, kinds.BYTE) for byte in range(256)]
    rows += [(character, -1.0, kinds.NORMAL) for character in PRINTABLE]
    return rows


def main(path):
    random = np.random.default_rng(20261120)

    def matrix(rows, columns):
        return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    rows = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.encode() for token, _, _ in rows])
    writer.add_token_scores([score for _, score, _ in rows])
    writer.add_token_types([kind for _, _, kind in rows])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    output = matrix(len(rows), WIDTH)
    # Never of its own accord special tokens and odd bytes: an answer is text, and ends at its limit.
    output[: len(SPECIAL) + 256] = 0
    writer.add_tensor("token_embd.weight", matrix(len(rows), WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(WIDTH, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_gate.weight", matrix(INNER, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", matrix(INNER, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(WIDTH, INNER))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1])
