"""Models of long histories equal the equations of their papers, row by row."""

from __future__ import annotations

import pytest
import torch
import zoo
from oracle import embedding_of, inputs_of, random_model
from recipes.histories import CATEGORIES, CATEGORY, ITEM, ITEMS

from torch_rechub.models import ranking


def entries_of(model, x, row, keep):
    """The embeddings of the entries of both histories side by side, where ``keep(place)`` is true."""
    tables = [model.embedding.embed_dict[f.table_name].weight.detach().as_subclass(torch.Tensor) for f in (ITEMS, CATEGORIES)]
    items, categories = x["items"][row], x["categories"][row]
    return [torch.cat([tables[0][items[i]], tables[1][categories[i]]]) for i in range(len(items)) if items[i] and keep(i)]


def assert_rows(model, x, interest):
    with torch.no_grad():
        expected = []
        for row in range(5):
            target = torch.cat([embedding_of(model.embedding, feature, x, row) for feature in (ITEM, CATEGORY)])
            columns = inputs_of(model.embedding, model.columns, x, row)
            expected.append(model.mlp(torch.cat([*interest(row, target), columns])[None])[0, 0])
        torch.testing.assert_close(model.logits(x), torch.stack(expected), rtol=1e-9, atol=1e-9)


def test_sim_reads_the_latest_entries_of_the_category_and_the_latest_of_all():
    """SIM is eq. 1 and 5: the entries with the target's category, the last 2 of them, and the last 2 of all, by attention."""
    model, x = random_model("SIM", n_retrieved=2)

    def interest(row, target):
        same = entries_of(model, x, row, lambda i: x["categories"][row, i] == x["category"][row])[-2:]
        recent = entries_of(model, x, row, lambda i: True)[-2:]
        for layer, entries in ((model.long, same), (model.short, recent)):
            history = torch.stack(entries)[None] if entries else torch.zeros(1, 1, 6, dtype=torch.double)
            yield layer(history, target[None], torch.full((1, history.shape[1]), bool(entries)))[0]

    assert_rows(model, x, interest)


def test_sim_looks_up_what_the_search_keeps(monkeypatch):
    """The tables are read for the kept entries alone, however long the history is."""
    model, (x, _) = zoo.model("SIM", n_retrieved=2, n_recent=1), zoo.tensors(12, name="SIM")
    read, look_up = [], model.embedding.look_up
    monkeypatch.setattr(model.embedding, "look_up", lambda given, features: (read.append(given), look_up(given, features))[1])
    model(x)
    assert [tuple(given["items"].shape) for given in read] == [(12, 3)]


def test_sdim_reads_the_entries_with_the_hash_of_the_target():
    """SDIM is a loop over signatures: the normalised sum of the entries with that of the target, and their mean."""
    model, x = random_model("SDIM")
    bits = [model.attention.projections[:, first : first + 2] for first in (0, 2, 4)]

    def interest(row, target):
        entries, total = entries_of(model, x, row, lambda i: True), torch.zeros(6, dtype=torch.double)
        for part in bits:
            equal = [e for e in entries if torch.equal(e @ part > 0, target @ part > 0)]
            total += sum(equal) / sum(equal).norm() if equal else 0
        yield total / 3

    assert_rows(model, x, interest)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ranking.SIM([], [ITEMS], [ITEM], {}, "kinds"), r"search_feature must be the name of one of .*\['items'\]; got 'kinds'"),
        (lambda: ranking.SIM([], [ITEMS], [ITEM], {}, "items", n_retrieved=0), "SIM: n_retrieved must be an integer >= 1; got 0"),
        (lambda: ranking.SDIM([], [ITEMS], [ITEM], {}, 8, 3), "hash_bits must divide n_hash=8; got 3"),
    ],
)
def test_misuse_of_long_histories_names_the_argument(make, said):
    """Arguments that a model cannot use are an error that names them."""
    with pytest.raises(ValueError, match=said):
        make()
