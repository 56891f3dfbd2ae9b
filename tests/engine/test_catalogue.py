"""The exact evaluation of retrieval models equals loops over all items."""

import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from torch_rechub.engine.catalogue import CatalogueScorer
from torch_rechub.engine.catalogue_ranking import top_of

CPU = torch.device("cpu")
ALL = ["recall@1", "recall@3", "ndcg@3", "hr@2", "hit@3", "mrr@3", "precision@4", "mrr"]


class SingleRank:
    size, is_first = 1, True

    def all_gather_objects(self, value):
        return [value]


class SimulatedRank:
    """One of several simulated ranks: it receives what the ranks before it have sent."""

    def __init__(self, rank, size, sent):
        self.size, self.is_first, self.sent = size, rank == 0, sent

    def all_gather_objects(self, value):
        self.sent.append(value)
        return list(self.sent)


class Vectors(nn.Module):
    """Users and items with fixed vectors; a user's batch is (ids, relevant rows) and an item's is ids."""

    def __init__(self, users, items):
        super().__init__()
        self.users, self.items = nn.Parameter(torch.as_tensor(users)), nn.Parameter(torch.as_tensor(items))

    def to_device(self, batch, device):
        return batch

    def encode(self, batch, side):
        return self.users[batch[0]] if side == "user" else self.items[batch]


def batches(relevant, size):
    """Users 0, 1, ... in batches of ``size``, their relevant rows padded with -1."""
    width = max(map(len, relevant))
    rows = torch.tensor([[*row, *[-1] * (width - len(row))] for row in relevant], dtype=torch.int64).reshape(len(relevant), width)
    ids = torch.arange(len(relevant))
    return [(ids[a : a + size], rows[a : a + size]) for a in range(0, len(relevant), size)]


def padded(rows_of_user):
    """A function of the batch that gives each user's rows, padded with -1."""
    width = max(map(len, rows_of_user))
    table = torch.tensor([[*row, *[-1] * (width - len(row))] for row in rows_of_user], dtype=torch.int64).reshape(len(rows_of_user), width)
    return lambda batch: table[batch[0]]


def scored(model, relevant, seen=None, metrics=ALL, batch_size=2, item_size=2, block_size=None, ranks=None, loader=None):
    items = list(torch.arange(len(model.items)).split(item_size))
    scorer = CatalogueScorer(items, metrics, seen=None if seen is None else padded(seen), block_size=block_size)
    with torch.no_grad():
        return scorer.score(model, batches(relevant, batch_size) if loader is None else loader, CPU, ranks or SingleRank())


def naive_places(model, relevant, seen):
    """The places of each user's relevant items, from a sorted list of all candidates; users without relevant items are left out."""
    users, items, result = model.users.tolist(), model.items.tolist(), []
    for user, right, masked in zip(users, relevant, seen, strict=True):
        vectors = user if isinstance(user[0], list) else [user]
        scores = [max(sum(a * b for a, b in zip(vector, item, strict=True)) for vector in vectors) for item in items]
        candidates = [row for row in range(len(items)) if row in right or row not in masked]
        candidates.sort(key=lambda row: (-scores[row], row))
        if right:
            result.append({candidates.index(row) + 1 for row in right})
    return result


def naive_value(name, users):
    measure, _, k = name.partition("@")
    k = int(k or 10**9)
    hits = [sorted(place for place in places if place <= k) for places in users]
    if measure == "hit":
        return sum(map(len, hits)) / sum(map(len, users))
    gain = {
        "recall": lambda hit_places, places: len(hit_places) / len(places),
        "precision": lambda hit_places, _: len(hit_places) / k,
        "hr": lambda hit_places, _: float(bool(hit_places)),
        "mrr": lambda hit_places, _: 1 / hit_places[0] if hit_places else 0.0,
        "ndcg": lambda hit_places, places: (
            sum(1 / math.log2(j + 1) for j in hit_places) / sum(1 / math.log2(j + 1) for j in range(1, min(k, len(places)) + 1))
        ),
    }[measure]
    return sum(gain(hit_places, places) for hit_places, places in zip(hits, users, strict=True)) / len(users)


@st.composite
def worlds(draw):
    """Small integers as vectors, so that scores are exact and many of them tie."""
    n_user, n_item, n_vector = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(0, 3))
    vector = st.lists(st.integers(-2, 2).map(float), min_size=2, max_size=2)
    user = vector if n_vector == 0 else st.lists(vector, min_size=n_vector, max_size=n_vector)
    rows = st.lists(st.integers(0, n_item - 1), max_size=5)  # a row may occur twice
    lists = [draw(st.lists(what, min_size=n, max_size=n)) for what, n in [(user, n_user), (vector, n_item), (rows, n_user), (rows, n_user)]]
    users, items, relevant, seen = lists
    if not any(relevant):
        relevant[0] = [n_item - 1]
    return Vectors(users, items), relevant, seen


@given(world=worlds(), block_size=st.sampled_from([1, 3, None]), batch_size=st.integers(1, 5), masks=st.booleans())
def test_catalogue_scores_are_those_of_a_loop_over_all_items(world, block_size, batch_size, masks):
    """Each metric equals that of sorting all items, with ties, several vectors, masks, repeated rows and any block size."""
    model, relevant, seen = world
    got = scored(model, relevant, seen if masks else None, batch_size=batch_size, block_size=block_size)
    places = naive_places(model, relevant, seen if masks else [[] for _ in relevant])
    assert list(got) == ALL
    assert got == pytest.approx({name: naive_value(name, places) for name in ALL}, rel=1e-12, abs=1e-300)


@given(world=worlds(), cut=st.integers(0, 5), size=st.integers(1, 5))
def test_catalogue_ranks_together_equal_one(world, cut, size):
    """Users shared between two ranks, one of which may have none, give the bits of one rank."""
    model, relevant, seen = world
    loader, sent = batches(relevant, 1), []
    scored(model, relevant, seen, ranks=SimulatedRank(1, 2, sent), loader=loader[cut:])
    both = scored(model, relevant, seen, ranks=SimulatedRank(0, 2, sent), loader=loader[:cut])
    assert both == scored(model, relevant, seen, batch_size=size)
    assert len(sent) == 2


@given(scores=st.lists(st.lists(st.integers(0, 2).map(float), min_size=7, max_size=7), min_size=1, max_size=4), k=st.integers(1, 9))
def test_top_of_breaks_ties_towards_the_lower_column(scores, k):
    """The top k are those of a stable sort, whatever torch.topk returns for equal scores."""
    values, columns = top_of(torch.tensor(scores), k)
    for row, value, column in zip(scores, values.tolist(), columns.tolist(), strict=True):
        assert column == sorted(range(7), key=lambda j: (-row[j], j))[:k]
        assert value == [row[j] for j in column]


def test_catalogue_of_many_equal_scores_is_ranked_by_row():
    """Where all items tie, the places are the rows, in one block or in many."""
    model = Vectors(torch.zeros(2, 4), torch.ones(5000, 4))
    for block_size in (None, 700):
        got = scored(model, [[19], [20]], metrics=["recall@20", "mrr"], item_size=5000, block_size=block_size)
        assert got == {"recall@20": 0.5, "mrr": (1 / 20 + 1 / 21) / 2}


def test_catalogue_random_vectors_equal_a_full_sort():
    """For random vectors the places are those of a full sort of the same scores, with any block size."""
    random = torch.Generator().manual_seed(0)
    model = Vectors(torch.randn(40, 3, 8, generator=random), torch.randn(900, 8, generator=random))
    relevant = [torch.randint(0, 900, (6,), generator=random).tolist() for _ in range(40)]
    order = (model.users @ model.items.T).amax(dim=1).argsort(dim=1, descending=True).tolist()
    places = [{row.index(item) + 1 for item in right} for row, right in zip(order, relevant, strict=True)]
    wanted = {name: naive_value(name, places) for name in ["recall@50", "ndcg@50", "mrr"]}
    for block_size in (1000, 64, 7):
        got = scored(model, relevant, metrics=list(wanted), batch_size=16, item_size=100, block_size=block_size)
        assert got == pytest.approx(wanted, rel=1e-12)


def test_catalogue_relevant_rows_are_never_masked():
    """A row that is seen and relevant remains a candidate, and a user's seen rows mask nothing for another user."""
    model = Vectors([[1.0], [1.0]], [[3.0], [2.0], [1.0]])
    assert scored(model, [[0], [1]], seen=[[0, 1], []], metrics=["mrr"]) == {"mrr": 0.75}
    assert scored(model, [[0], [1]], seen=[[1], [0]], metrics=["recall@1"]) == {"recall@1": 1.0}


def test_catalogue_item_of_minus_infinity_is_never_a_hit():
    """A score of -inf excludes an item, which then never counts as a hit."""
    model = Vectors([[1.0]], [[2.0], [-math.inf], [1.0]])
    assert scored(model, [[1]], metrics=["recall@3", "mrr"]) == {"recall@3": 0.0, "mrr": 0.0}
    assert scored(model, [[1, 2]], seen=[[0]], metrics=["recall@3", "mrr"]) == {"recall@3": 0.5, "mrr": 1.0}


@pytest.mark.parametrize("block_size", [1, None])
@pytest.mark.parametrize("where", ["user", "item"])
def test_catalogue_nan_is_never_ranked(where, block_size, caplog):
    """One NaN in a vector makes every metric NaN, with a logged warning, even where the top scores tie."""
    users, items = torch.ones(2, 1), torch.ones(6, 1)
    (users if where == "user" else items)[1] = math.nan
    with caplog.at_level(logging.WARNING):
        got = scored(Vectors(users, items), [[0], [3]], metrics=ALL, block_size=block_size)
    assert all(math.isnan(value) for value in got.values())
    assert "NaN scores" in caplog.text


def test_catalogue_score_block_replaces_the_dot_product():
    """A model's own score_block ranks the items; vector widths may then differ, and its result is not changed."""
    table = torch.tensor([[1.0, 5.0, 2.0], [9.0, 1.0, 3.0]], dtype=torch.float64)

    class Table(Vectors):
        def score_block(self, users, items):
            return table[users.long().flatten()][:, items[:, 0].long()] if len(items) < 3 else table

    model, before = Table([[0.0], [1.0]], [[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]]), table.clone()
    for block_size in (1, 2, None):
        got = scored(model, [[1], [2]], seen=[[], [0]], metrics=["recall@1", "mrr"], block_size=block_size)
        assert got == {"recall@1": 1.0, "mrr": 1.0}
    assert torch.equal(table, before)
    model.score_block = lambda users, items: torch.tensor([[2**24, 2**24 + 1, 0], [0, 2**30, 2**30 + 1]])
    assert scored(model, [[1], [2]], metrics=["recall@1"]) == {"recall@1": 1.0}  # integers are exact
    model.score_block = lambda users, items: table[:1]
    with pytest.raises(ValueError, match=r"score_block must return \(2, 3\); got \(1, 3\)"):
        scored(model, [[1], [2]])
    plain = Vectors([[0.0, 1.0]], torch.eye(2))
    plain.score_block = None
    assert scored(plain, [[1]], metrics=["recall@1"]) == {"recall@1": 1.0}


def test_catalogue_half_precision_does_not_tie_scores():
    """Vectors of bfloat16 are multiplied in float32, also under autocast, so that close scores differ."""
    items = torch.tensor([[1.0, 0.0], [1.0, 0.5]]).bfloat16()
    model = Vectors(torch.tensor([[256.0, 1.0]]).bfloat16(), items)  # scores 256 and 256.5: equal in bfloat16
    assert scored(model, [[1]], metrics=["recall@1"]) == {"recall@1": 1.0}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert scored(model, [[1]], metrics=["recall@1"]) == {"recall@1": 1.0}


def test_catalogue_users_without_relevant_rows_are_left_out_and_counted(caplog):
    """Users without a relevant row do not count, and the log gives their number over all ranks, once for each number."""
    model, sent = Vectors([[1.0]] * 4, [[2.0], [1.0]]), []
    relevant, scorer = [[0], [], [], [1]], CatalogueScorer([torch.arange(2)], ["recall@1"])
    loader = batches(relevant, 1)
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        scorer.score(model, loader[2:], CPU, SimulatedRank(1, 2, sent))
        assert "left out" not in caplog.text
        assert scorer.score(model, loader[:2], CPU, SimulatedRank(0, 2, sent)) == {"recall@1": 0.5}
        assert caplog.text.count("2 users have no relevant row and are left out") == 1
        for _ in range(2):
            scorer.score(model, loader, CPU, SingleRank())
    assert caplog.text.count("left out") == 1


def test_catalogue_scorer_starts_each_pass_afresh():
    """A second pass encodes the items again and gives the same numbers."""
    model, calls = Vectors([[1.0], [1.0]], [[2.0], [1.0]]), []
    scorer = CatalogueScorer([torch.arange(2)], ["recall@1"])
    with torch.no_grad():
        first = scorer.score(model, batches([[0], [1]], 1), CPU, SingleRank(), after_batch=lambda: calls.append(1))
        assert first == scorer.score(model, batches([[0], [1]], 1), CPU, SingleRank()) == {"recall@1": 0.5}
        model.items.copy_(torch.tensor([[1.0], [2.0]]))
        assert scorer.score(model, batches([[1], [1]], 1), CPU, SingleRank()) == {"recall@1": 1.0}
    assert len(calls) == 2
    assert [(metric.name, metric.higher_is_better) for metric in scorer.metrics] == [("recall@1", True)]


def test_catalogue_relevant_may_be_a_function_of_the_batch():
    """``relevant`` gets the batch as the loader yields it, y is then not needed, and (B,) and (B, R) are accepted."""
    model, ids = Vectors([[1.0], [1.0]], [[2.0], [1.0]]), torch.arange(2)
    for rows in (torch.tensor([0, 1]), torch.tensor([[0], [1]]), torch.tensor([[0, -1], [-1, 1]], dtype=torch.int32)):
        scorer = CatalogueScorer([ids], ["recall@1"], relevant=lambda batch, rows=rows: rows[batch[0]])
        assert scorer.score(model, [(ids, None), (ids[:0], None)], CPU, SingleRank()) == {"recall@1": 0.5}


def refused(match, *, users=((1.0,), (1.0,)), n_item=2, y=(0, 1), items=None, batch=None, **settings):
    ids = torch.arange(2)
    scorer = CatalogueScorer([torch.arange(n_item)] if items is None else items, **settings)
    batch = (ids, torch.as_tensor(y)) if batch is None else batch
    with pytest.raises(ValueError, match=match), torch.no_grad():
        scorer.score(Vectors(users, torch.ones(max(n_item, 1), 1)), [batch], CPU, SingleRank())


def test_catalogue_bad_data_is_refused_by_name():
    """Each error says what must hold and what came."""
    ids = torch.arange(2)
    refused(r"relevant rows must be < 2.*got 2 for user 1", y=[0, 2])
    refused(r"relevant rows must be < 2.*got -2 for user 0", y=[-2, 1])
    refused(r"seen rows must be < 2.*got 7 for user 0", seen=lambda batch: torch.tensor([7, 0]))
    refused(r"relevant must be .* int64 catalogue rows of 2 users; got \(2,\) torch\.float32", y=[0.0, 1.0])
    refused(r"relevant must be .* of 2 users; got \(3,\)", y=[0, 1, 1])
    refused("relevant must be .*; got list", relevant=lambda batch: [0, 1])
    refused("catalogue must hold at least one item", n_item=0)
    refused("catalogue must hold at least one item", items=[])
    refused(r"with the D=1 of the items; got \(2, 2\)", users=((1.0, 1.0), (1.0, 1.0)))
    for batch in ((ids,), (ids, None), {"user": ids, "item": ids}):
        refused("got a batch without y", batch=batch)


def test_catalogue_bad_settings_are_refused():
    """Invalid settings are errors at construction."""
    for wrong, match in [
        ({"items": iter([])}, "must not be an iterator"),
        ({"metrics": ["recal@20"]}, "Did you mean 'recall@20'"),
        ({"metrics": []}, "at least one metric"),
        ({"metrics": "recall@20"}, "must be a list"),
        ({"metrics": ["mrr", "MRR"]}, "must be different"),
        ({"block_size": 0}, "block_size must be"),
        ({"block_size": 2.0}, "block_size must be"),
    ]:
        with pytest.raises(ValueError, match=match):
            CatalogueScorer(**{"items": [], **wrong})


def test_catalogue_blocks_fit_their_memory(monkeypatch):
    """By default a block of scores, also with several vectors a user, is within the limit; block_size replaces it."""
    from torch_rechub.engine import catalogue

    sizes = []
    monkeypatch.setattr(catalogue, "MOST_BYTES", 400)  # 5 users x 4 vectors x 5 items x 4 bytes
    monkeypatch.setattr(catalogue, "dot_scores", lambda users, items: sizes.append(len(items)) or (users @ items.T).amax(1))
    for block_size in (None, 7):
        scored(Vectors(torch.ones(5, 4, 2), torch.ones(12, 2)), [[0]] * 5, batch_size=5, metrics=["recall@1"], block_size=block_size)
    assert sizes == [5, 5, 2, 7, 5]
