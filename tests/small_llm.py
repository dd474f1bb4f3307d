"""A small causal language model with a chat template: random weights, and answers that are lists of random words."""

import math
from pathlib import Path

WORDS = [f"{first}{last}" for first in ("ba", "ke", "li", "mo", "nu") for last in ("dal", "fen", "gis", "ror")]
NUMBERS = [f"{number}." for number in range(1, 11)]
PAD, END, OTHER = "<pad>", "<end>", "<other>"
SPECIAL = [PAD, END, "<system>", "<user>", "<assistant>", OTHER]
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def build(folder: Path, window: int = 4096, seed: int = 0) -> Path:
    """Save the model and its tokenizer; whole words are tokens, and everything else is letters."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = [chr(number) for number in range(32, 127)] + ["\n"]
    vocabulary = list(dict.fromkeys([*SPECIAL, *WORDS, *NUMBERS, "\n", *letters]))
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(vocabulary)}, unk_token=OTHER))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\S+|\s"), "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, eos_token=END, unk_token=OTHER, chat_template=TEMPLATE
    )
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[2:5]})
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=window,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True
    _prefer(model, vocabulary)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_gguf(path: Path):
    """Write a Llama of random weights whose tokens are letters and a pair of them; gives its embeddings."""
    import gguf
    import torch

    tokens = ["<unk>", "<s>", "</s>", *map(chr, range(33, 127)), "ab"]
    width, inner, heads = 32, 64, 2
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_block_count(1)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {
        **{"token_embd.weight": (len(tokens), width), "output.weight": (len(tokens), width)},
        **{"output_norm.weight": (width,), "blk.0.attn_norm.weight": (width,), "blk.0.ffn_norm.weight": (width,)},
        **{f"blk.0.attn_{part}.weight": (width, width) for part in ("q", "k", "v", "output")},
        **{"blk.0.ffn_gate.weight": (inner, width), "blk.0.ffn_up.weight": (inner, width)},
        "blk.0.ffn_down.weight": (width, inner),
    }
    weights = {name: torch.randn(shape, generator=torch.Generator().manual_seed(0)) for name, shape in shapes.items()}
    for name, values in weights.items():
        writer.add_tensor(name, values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights["token_embd.weight"]


def _prefer(model, vocabulary: list[str]) -> None:
    """Make list-like answers likely by the outer layers: number, words, and a new line or the end."""
    import torch

    after = {
        0: (["<assistant>", "\n"], dict.fromkeys(NUMBERS, 0.1)),
        1: (NUMBERS, {" ": 1.0}),
        2: ([" "], dict.fromkeys(WORDS, 1 / len(WORDS))),
        3: (WORDS, {" ": 0.85, "\n": 0.13, END: 0.02}),
    }
    place = {word: number for number, word in enumerate(vocabulary)}
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    with torch.no_grad():
        for kind, (words, following) in after.items():
            embedding[[place[word] for word in words], kind] = 5.0
            head[:, kind] = math.log(1e-6) / model.config.hidden_size**0.5
            for word, likely in following.items():
                head[place[word], kind] = math.log(likely) / model.config.hidden_size**0.5
