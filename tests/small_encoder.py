"""A BERT of two small layers with random weights, a few texts that it can learn, and settings to train it."""

from pathlib import Path

from synthgap.core.config import FinetuneSettings
from synthgap.training.base import Texts

GOOD = ["a wonderful film", "great acting, loved it", "what a delight", "superb and moving", "I enjoyed every minute"]
BAD = ["a dreadful film", "awful acting, hated it", "what a bore", "clumsy and dull", "I regret every minute"]
TRAIN = Texts(GOOD + BAD, [1] * 5 + [0] * 5)
TEST = ["wonderful and great, a delight", "dreadful, awful, a bore"]
FINETUNE = FinetuneSettings(kind="finetune", learning_rate=5e-4, batch_size=4, epochs=3, patience=3, max_tokens=32)


def save_tiny_bert(folder: Path) -> str:
    """Write it, with a vocabulary of the texts above."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = sorted({word.strip(",.") for text in GOOD + BAD + TEST for word in text.lower().split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", *words]))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words) + 6, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def save_tiny_roberta(folder: Path) -> str:
    """Write a RoBERTa, whose padding token is number 1, with byte pairs learned from the texts above."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaTokenizerFast

    bytes_ = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bytes_.train_from_iterator(GOOD + BAD + TEST, vocab_size=400, special_tokens=special)
    bytes_.save_model(str(folder))
    tokenizer = RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return str(folder)
