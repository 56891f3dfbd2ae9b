"""Models of histories equal the equations of their papers, row by row, and padding never matters."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
import zoo
from oracle import embedding_of, inputs_of, random_model
from recipes import histories
from recipes.histories import CATEGORIES, CATEGORY, ITEM, ITEMS, SKIPPED
from torch import nn

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models import ranking
from torch_rechub.trainers import CTRTrainer

MODELS = sorted(histories.RECIPES)


def vectors(model, feature, x, row):
    """The embeddings of the entries of a history, oldest first."""
    table = model.embedding.embed_dict[feature.table_name].weight.detach().as_subclass(torch.Tensor)
    return [table[i] for i in x[feature.name][row] if i != 0]


def assert_rows(model, x, logit):
    with torch.no_grad():
        expected = torch.stack([logit(row) for row in range(5)])
        torch.testing.assert_close(model.logits(x), expected, rtol=1e-9, atol=1e-9)


def network(model, interests, x, row):
    columns = inputs_of(model.embedding, model.columns, x, row)
    return model.mlp(torch.cat([*interests, columns])[None])[0, 0]


def total(parts, width):
    return sum(parts, torch.zeros(width, dtype=torch.double))


@pytest.mark.parametrize("params", [{"dims": [6]}, {"dims": [6], "use_softmax": True, "norm": None}])
def test_din_is_a_sum_of_entries_by_their_attention(params):
    """DIN is eq. 3: a loop over the entries of each history, then the network."""
    model, x = random_model("DIN", attention_mlp_params=params)

    def interest(unit, history, target, row):
        t = embedding_of(model.embedding, target, x, row)
        entries = vectors(model, history, x, row)
        scores = [unit.attention(torch.cat([t, e, t - e, t * e])[None])[0, 0] for e in entries]
        if "use_softmax" in params and entries:
            scores = [score.exp() / sum(other.exp() for other in scores) for score in scores]
        return total((a * e for a, e in zip(scores, entries, strict=True)), len(t))

    def logit(row):
        parts = zip(model.attention_layers, [ITEMS, CATEGORIES], [ITEM, CATEGORY], strict=True)
        return network(model, [interest(*part, row) for part in parts], x, row)

    assert_rows(model, x, logit)


def gru_states(gru, entries):
    """Eq. 2-5, step by step, with the gates in torch's order."""
    state, states = torch.zeros(gru.hidden_size, dtype=torch.double), []
    for e in entries:
        from_r, from_z, from_n = (gru.weight_ih_l0 @ e + gru.bias_ih_l0).chunk(3)
        to_r, to_z, to_n = (gru.weight_hh_l0 @ state + gru.bias_hh_l0).chunk(3)
        update = torch.sigmoid(from_z + to_z)
        state = (1 - update) * torch.tanh(from_n + torch.sigmoid(from_r + to_r) * to_n) + update * state
        states.append(state)
    return states


def last_interest(augru, states, target):
    """Eq. 14 and 16-17, step by step."""
    state, cell = torch.zeros(len(target), dtype=torch.double), augru.augru_cell
    weights = [(h @ augru.Wa @ target).exp() for h in states]
    for h, weight in zip(states, weights, strict=True):
        update = torch.sigmoid(h @ cell.Wu + state @ cell.Uu + cell.bu[0]) * weight / sum(weights)
        reset = torch.sigmoid(h @ cell.Wr + state @ cell.Ur + cell.br[0])
        state = (1 - update) * state + update * torch.tanh(h @ cell.Wh + reset * (state @ cell.Uh) + cell.bh[0])
    return state


def test_dien_is_two_recurrent_layers():
    """DIEN is eq. 2-5, 14 and 16-17, a loop over the entries of each history, then the network."""
    model, x = random_model("DIEN")

    def logit(row):
        interests = []
        for i, (history, target) in enumerate([(ITEMS, ITEM), (CATEGORIES, CATEGORY)]):
            states = gru_states(model.interest_extractor_layers[i], vectors(model, history, x, row))
            interests.append(last_interest(model.interest_evolving_layers[i], states, embedding_of(model.embedding, target, x, row)))
        return network(model, interests, x, row)

    assert_rows(model, x, logit)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_auxiliary_loss_of_dien_is_that_of_the_next_entries(weighted):
    """In training the loss has alpha times the mean of eq. 6-7 over the entries behind the first; in evaluation it has not."""
    model, x = random_model("DIEN", alpha=0.3)
    y, weight = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0]).double(), torch.tensor([1.0, 2.0, 0.0, 0.5, 1.0]).double()
    rows = torch.zeros(5, dtype=torch.double)
    for i, (history, negative) in enumerate(zip(model.history_features, model.neg_history_features, strict=True)):
        for row in range(5):
            entries, others = vectors(model, history, x, row), vectors(model, negative, x, row)
            states = gru_states(model.interest_extractor_layers[i], entries)
            losses = [-F.logsigmoid(h @ e) - F.logsigmoid(-(h @ o)) for h, e, o in zip(states, entries[1:], others[1:], strict=False)]
            rows[row] += sum(losses) / max(len(losses), 1)
    mean = (rows * weight).sum() / weight.sum() if weighted else rows.mean()
    batch = (x, y, weight) if weighted else (x, y)
    evaluated = model.eval()(batch)
    for module in model.train().modules():
        if module is not model:
            module.eval()  # the network as in evaluation; the model alone adds the loss
    torch.testing.assert_close(model(batch), evaluated + 0.3 * mean)


@pytest.mark.parametrize("loss_mode", [True, False])
def test_dien_trains_with_either_loss_mode(loss_mode):
    """Scripts of the existing package give loss_mode=False; the auxiliary loss is trained with both, and predictions are one tensor."""
    train, val = zoo.loaders(name="DIEN")
    trainer = zoo.trainer(zoo.model("DIEN"), n_epoch=1, loss_mode=loss_mode)
    trainer.fit(train, val)
    other = CTRTrainer(zoo.model("DIEN"), n_epoch=1, model_path=None, progress=False, optimizer_params={"lr": 0.05})
    torch.manual_seed(1)
    other.fit(*zoo.loaders(name="DIEN"))
    assert trainer.history["loss"] == other.history["loss"]
    assert trainer.predict(trainer.model, val).shape == (40,)


@pytest.mark.parametrize("positions", ["from_first", "from_target"])
def test_bst_is_a_transformer_of_torch_over_the_entries_and_the_target(positions):
    """BST is torch's encoder over entries and target without any padding, with positions, read at the target."""
    model, x = random_model("BST", positions=positions, num_layers=2)
    layer = nn.TransformerEncoderLayer(6, 2, dim_feedforward=8, activation=nn.LeakyReLU(), batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    encoder.load_state_dict(model.transformer_layers.state_dict())

    def logit(row):
        entries = [torch.cat(pair) for pair in zip(vectors(model, ITEMS, x, row), vectors(model, CATEGORIES, x, row), strict=True)]
        target = torch.cat([embedding_of(model.embedding, feature, x, row) for feature in (ITEM, CATEGORY)])
        n = len(entries)
        places = [*range(n), model.max_seq_len - 1] if positions == "from_first" else [*range(n, 0, -1), 0]
        sequence = torch.stack([*entries, target]) + model.pos_embedding.weight[places]
        return network(model, [encoder(sequence[None])[0, -1]], x, row)

    assert_rows(model, x, logit)


@pytest.mark.parametrize("name", MODELS)
def test_padding_may_lie_anywhere(name):
    """Padding in front of the entries, between and behind them gives one prediction; a row of padding only has a finite one."""
    model, x = random_model(name)
    listed = [*histories.columns(5)]
    columns = [column for column in listed if x[column].dim() == 2]
    expected = model(x)
    assert expected.isfinite().all()
    length = x[columns[0]].shape[1]
    between = torch.arange(length) + (torch.arange(length) > 1)
    for places in (torch.arange(length) + 1, between, torch.arange(length)):
        moved = dict(x)
        for column in columns:
            moved[column] = torch.zeros(5, length + 1, dtype=torch.int64).index_copy(1, places, x[column])
        torch.testing.assert_close(model(moved), expected)
    empty = {column: torch.zeros_like(values) if column in columns else values for column, values in x.items()}
    assert model(empty).isfinite().all()
    model.train()((empty, torch.ones(5).double())).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_padding_does_not_change_a_training_step(name):
    """More padding changes neither the loss of training nor a gradient nor a running average."""
    results = []
    for width in (0, 3):
        model, (x, y) = zoo.model(name, dropout=0.0), zoo.tensors(12, name=name)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        x = {key: F.pad(column, (0, width)) if column.dim() == 2 else column for key, column in x.items()}
        loss = model.double()(({key: c.double() if c.is_floating_point() else c for key, c in x.items()}, y.double()))
        loss.backward()
        gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
        results.append([loss, gradients, dict(model.named_buffers())])
    torch.testing.assert_close(results[1], results[0])


def test_din_and_sdim_do_not_depend_on_the_order_of_a_history():
    """The entries of a history are a set for DIN and SDIM; BST, DIEN and SIM read their order."""
    for name in MODELS:
        model, x = random_model(name)
        turned = {key: column.flip(1) if column.dim() == 2 else column for key, column in x.items()}
        assert torch.allclose(model(turned), model(x)) == (name in {"DIN", "SDIM"})


def test_a_history_without_a_padding_id_is_padded_with_0(caplog):
    """As in BST of the existing package, id 0 is padding; a warning names the history."""
    plain = SequenceFeature("items", 20, 4, "concat", shared_with="item")
    with caplog.at_level(logging.WARNING):
        model = ranking.DIN([], [plain], [ITEM], {"dims": [4]}, {"dims": [4]}).eval()
    assert "DIN: history 'items' has no padding_idx; its id 0 is taken as padding" in caplog.text
    x = {"item": torch.tensor([3]), "items": torch.tensor([[5, 7]])}
    torch.testing.assert_close(model({**x, "items": torch.tensor([[0, 5, 7, 0]])}), model(x))


POOLED, WIDE = SequenceFeature("pooled", 20, 4, shared_with="item"), SparseFeature("wide", 20, 8)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ranking.DIN([], [POOLED], [ITEM], {}, {}), "DIN: history_features must be SequenceFeature.*pooling='concat'"),
        (lambda: ranking.DIN([], [], [ITEM], {}, {}), "DIN: history_features must hold at least one history; got none"),
        (lambda: ranking.DIN([ITEMS], [ITEMS], [ITEM], {}, {}), "DIN: features: sequences must be pooled.*Use history_features"),
        (lambda: ranking.DIN([], [ITEMS], [WIDE], {}, {}), "one embed_dim; got {'items': 4, 'wide': 8}. Use shared_with='wide'"),
        (lambda: ranking.DIN([], [ITEMS], [DenseFeature("price")], {}, {}), "target_features must be embedded features.*Move dense"),
        (lambda: ranking.DIN([], [ITEMS, CATEGORIES], [ITEM], {}, {}), "one feature for each of history_features.*2 histories and 1"),
        (lambda: ranking.DIEN([], [ITEMS], [SKIPPED, ITEMS], [ITEM], {}), r"widths of history_features, \[4\]; got \[4, 4\]"),
        (lambda: ranking.DIEN([], [ITEMS], [SKIPPED], [ITEM], {}, alpha=-1), "alpha must be a finite number >= 0; got -1"),
        (lambda: ranking.BST([], [ITEMS], [ITEM, WIDE], {}, 2), "one sum of embed_dim; got 4 and 12"),
        (lambda: ranking.BST([], [ITEMS], [ITEM], {}), "nhead must divide the sum of embed_dim of history_features, 4; got 8"),
        (lambda: zoo.model("BST", max_seq_len=4)(zoo.tensors(4, name="BST")[0]), "at most max_seq_len - 1 = 3 long; got 4"),
    ],
)
def test_misuse_of_histories_names_the_argument(make, said):
    """Arguments that a model cannot use are an error that names the model, the argument and the remedy."""
    with pytest.raises(ValueError, match=said):
        make()
