"""An encoder with one linear layer that starts as a logistic regression on its frozen embeddings, to be fine-tuned.

Such a start keeps what the encoder knows, where a random one first distorts it. Source: Kumar, Raghunathan, Jones, Ma
and Liang, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from synthgap.core.config import ProbeSettings
from synthgap.training.base import logistic_regression


class ProbeHead(nn.Module):
    """A linear layer on a text's embedding: the mean of the vectors of its tokens, scaled to length 1.

    Args:
        encoder: a transformers model that gives a vector for each token.
    """

    def __init__(self, encoder: Any, n_labels: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config
        self.dropout = nn.Dropout(getattr(encoder.config, "hidden_dropout_prob", 0.1))
        self.layer = nn.Linear(encoder.config.hidden_size, n_labels)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    @property
    def device(self) -> torch.device:
        return self.layer.weight.device

    def get_input_embeddings(self) -> nn.Module:
        embeddings: nn.Module = self.encoder.get_input_embeddings()
        return embeddings

    def set_input_embeddings(self, embeddings: nn.Module) -> None:
        self.encoder.set_input_embeddings(embeddings)

    def embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embeddings, shape (texts, width), of tokens of shape (texts, tokens)."""
        vectors = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask = attention_mask.unsqueeze(-1)
        return nn.functional.normalize((vectors * mask).sum(1) / mask.sum(1), dim=-1)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        logits = self.layer(self.dropout(self.embed(input_ids, attention_mask)).to(self.layer.weight.dtype))
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def start_as_probe(self, embeddings: np.ndarray, labels: Sequence[int]) -> None:
        """Make the layer the logistic regression that the classifier `probe` would be; of absent labels it knows none.

        Args:
            embeddings: shape (texts, width), by `embed`.
        """
        with threadpool_limits(1, "blas"):
            probe = logistic_regression(ProbeSettings(kind="probe").inverse_regularisation).fit(embeddings, labels)
        weight, bias = torch.tensor(probe.coef_), torch.tensor(probe.intercept_)
        if len(probe.classes_) == 2:  # scikit-learn gives the second label's share of the difference alone
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        with torch.no_grad():
            self.layer.weight[probe.classes_] = weight.to(self.layer.weight)
            self.layer.bias[probe.classes_] = bias.to(self.layer.bias)
