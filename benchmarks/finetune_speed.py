"""Fine-tuning MiniLM: batches padded each to its own, grouped by length, bfloat16, against padding to 128 tokens."""

import random
import tempfile

from common import alternate, recorded_texts
from transformers import Trainer, TrainingArguments, default_data_collator

from synthgap.classifiers import load_classifier, tokenised, training_arguments
from synthgap.config import FinetuneSettings
from synthgap.encoders import encoder_source

SETTINGS = FinetuneSettings(kind="finetune", batch_size=16, epochs=1)
TASKS = ("tweet_irony", "tweet_emotion", "ag_news", "financial_phrasebank")
TEXTS = 480


def train(arguments, rows, collator=None) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # or the second way would keep the first one's precision
    _, model = load_classifier(SETTINGS.encoder, 4)
    Trainer(model=model, args=arguments(), train_dataset=rows, data_collator=collator).train()


def main() -> None:
    from transformers import AutoTokenizer, DataCollatorWithPadding

    pairs = recorded_texts(TASKS)
    random.Random(0).shuffle(pairs)
    texts, labels = zip(*pairs[:TEXTS], strict=True)
    tokenizer = AutoTokenizer.from_pretrained(encoder_source(SETTINGS.encoder))
    ours = tokenised(tokenizer, texts, SETTINGS.max_tokens, labels)
    encoded = tokenizer(list(texts), truncation=True, max_length=128, padding="max_length")
    plain = [
        {**{name: values[place] for name, values in encoded.items()}, "labels": label}
        for place, label in enumerate(labels)
    ]
    with tempfile.TemporaryDirectory() as folder:

        def our_arguments() -> TrainingArguments:
            arguments = training_arguments(SETTINGS, 0, folder)
            arguments.eval_strategy = "no"
            return arguments

        def plain_arguments() -> TrainingArguments:
            return TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=SETTINGS.batch_size,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
            )

        fast, slow = alternate(
            lambda: train(our_arguments, ours, DataCollatorWithPadding(tokenizer)),
            lambda: train(plain_arguments, plain, default_data_collator),
        )
    print(
        f"fine-tuning MiniLM on {TEXTS} texts: ours {TEXTS / fast:.0f} texts/s, Trainer padding to 128 "
        f"{TEXTS / slow:.0f} texts/s, ratio {slow / fast:.1f} (medians of 3)"
    )


if __name__ == "__main__":
    main()
