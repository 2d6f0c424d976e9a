"""The two parts of an attribution, train and val: rows as people have them, and what they are as tokens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ifcore.examples import Given, Row, Tokens
from ifcore.losses import causal_lm, uncompiled
from ifcore.rows import by_id
from ifcore.tokens import Loss, tokenise_rows

Rows = Iterable[Given | Mapping[str, Any] | Row]
Ids = Mapping[Any, Tokens]


@dataclass(frozen=True)
class Parts:
    """Rows and tokens of train [N] and val [M] by id, those without anything in their loss left out of the tokens.

    `against`: the tokens of the responses that are held against those of some rows of val.
    """

    rows: Mapping[str, Mapping[Any, Row]]
    tokens: Mapping[str, Ids]
    against: Ids

    @property
    def sequences(self) -> dict[str, list[Tokens]]:
        """Those to run of each part: for val the M rows, then what is held against some of them."""
        train, val = (list(self.tokens[part].values()) for part in ("train", "val"))
        return {"train": train, "val": [*val, *self.against.values()]}

    @property
    def rejected(self) -> list[int]:
        """Of each row of val the place in `sequences` of what is held against it, or −1; empty where nothing is."""
        places = {identity: place for place, identity in enumerate(self.against, len(self.tokens["val"]))}
        return [places.get(identity, -1) for identity in self.tokens["val"]] if places else []

    def frame(self, scores: np.ndarray) -> pd.DataFrame:
        """Scores [M, N] with the rows of val and the columns of train by id."""
        index, columns = (pd.Index(list(self.tokens[part]), name=part) for part in ("val", "train"))
        return pd.DataFrame(scores, index, columns)


def tokenise_parts(
    model: nn.Module, tokenizer: Any, train: Rows, val: Rows, loss: Loss, skip_empty: bool = False
) -> Parts:
    """Both parts, each token of which the model has an embedding for.

    Raises ValueError, in one line, for rows that can't be read or tokenised, and for a training example with two
    responses, since a fine-tune on preferences has another loss.
    """
    rows = {"train": by_id(train, "train"), "val": by_id(val, "val")}
    if twice := [row for row in rows["train"].values() if row.rejected is not None]:
        raise ValueError(f"{twice[0].about}: two responses; a training example has the one that was trained on")
    tokens = {part: _tokenise(model, tokenizer, of, loss, skip_empty, part) for part, of in rows.items()}
    contrasts = [Row(key, row.rejected, row.about) for key, row in rows["val"].items() if row.rejected is not None]
    explained = {row.identity: row for row in contrasts if row.identity in tokens["val"]}
    against = _tokenise(model, tokenizer, explained, loss, False, "val") if explained else {}
    return Parts(rows, tokens, against)


def _tokenise(
    model: nn.Module, tokenizer: Any, rows: Mapping[Any, Row], loss: Loss, skip_empty: bool, part: str
) -> dict[Any, Tokens]:
    context = getattr(uncompiled(model).config, "max_position_embeddings", None)
    tokens = tokenise_rows(tokenizer, rows.values(), context, loss, skip_empty)
    if not tokens:
        raise ValueError(f"{part}: no row with anything in its loss; give one or more")
    embeddings: Any = causal_lm(model).get_input_embeddings()
    known = embeddings.weight.shape[0]
    for identity, one in tokens.items():
        if (largest := max(*one.ids, *one.labels)) >= known:
            raise ValueError(
                f"{rows[identity].about}: token {largest}, and the model has {known}; give the tokenizer of the "
                "fine-tune, and a model with as many embeddings"
            )
    return tokens
