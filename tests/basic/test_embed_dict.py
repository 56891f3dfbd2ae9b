"""``embed_dict[name]`` is an ``nn.Embedding``: it can be frozen, walked, hooked, replaced and picked by its name."""

import copy

import pytest
import torch
from torch import nn

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.basic.layers import EmbeddingLayer
from torch_rechub.models.ranking import DeepFM
from torch_rechub.optim import FTRL, SGD, Adagrad, Adam, AdamW, RowWiseAdagrad
from torch_rechub.trainers import CTRTrainer

OPTIMIZERS = [Adam, AdamW, lambda p, lr: SGD(p, lr, momentum=0.9), Adagrad, RowWiseAdagrad, FTRL, torch.optim.Adam, torch.optim.AdamW]


def make_model():
    torch.manual_seed(0)
    embedded = [SparseFeature("user", 10, 4), SparseFeature("city", 20, 4), SequenceFeature("past", 20, 4, shared_with="city")]
    return DeepFM([*embedded, DenseFeature("age")], embedded, {"dims": [8]})


def make_batch(n_row=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = {"user": torch.randint(0, 10, (n_row,), generator=generator), "city": torch.randint(0, 20, (n_row,), generator=generator)}
    x |= {"past": torch.randint(0, 20, (n_row, 3), generator=generator), "age": torch.rand(n_row, generator=generator)}
    return x, (torch.arange(n_row) % 2).float()


def train(model, optimizer, n_step=3):
    for step in range(n_step):
        optimizer.zero_grad()
        model(make_batch(seed=step)).backward()
        optimizer.step()


def freeze_module(embedding):
    embedding.requires_grad_(False)


def freeze_weight(embedding):
    embedding.weight.requires_grad_(False)


def freeze_flag(embedding):
    embedding.weight.requires_grad = False


def freeze_parameters(embedding):
    for parameter in embedding.parameters():
        parameter.requires_grad = False


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("freeze", [freeze_module, freeze_weight, freeze_flag, freeze_parameters])
@pytest.mark.parametrize("when", ["before the optimizer", "while rows lag"])
def test_a_frozen_feature_is_not_trained(kind, freeze, when):
    """A feature that is frozen in any of torch's ways keeps every bit under every optimizer, and the other features are trained."""
    model = make_model()
    optimizer = kind(model.parameters(), lr=0.1) if when == "while rows lag" else None
    if optimizer is not None:
        train(model, optimizer)
    prediction = model.eval()(make_batch()[0]).detach()
    freeze(model.embedding.embed_dict["city"])
    torch.testing.assert_close(model(make_batch()[0]).detach(), prediction)
    before = copy.deepcopy(model.state_dict())
    assert not model.embedding.embed_dict["city"].weight.requires_grad
    train(model.train(), optimizer or kind([p for p in model.parameters() if p.requires_grad], lr=0.1))
    after = model.state_dict()
    assert torch.equal(after["embedding.embed_dict.city.weight"], before["embedding.embed_dict.city.weight"])
    assert not torch.equal(after["embedding.embed_dict.user.weight"], before["embedding.embed_dict.user.weight"])


def test_an_unfrozen_feature_is_trained_again():
    """Unfreezing puts the rows back, so that an optimizer which was made before trains them again."""
    model = make_model()
    optimizer, city = Adam(model.parameters(), lr=0.1), model.embedding.embed_dict["city"]
    names = [name for name, _ in model.named_parameters()]
    city.requires_grad_(False)
    train(model, optimizer)
    before = city.weight.detach().clone()
    city.requires_grad_(True)
    assert torch.equal(city.weight, before)
    assert [name for name, _ in model.named_parameters()] == names
    train(model, optimizer)
    assert not torch.equal(city.weight, before)


def test_a_frozen_feature_is_not_trained_by_the_trainer():
    """The trainer, with a penalty on embeddings too, keeps a frozen feature, and its saved keys are the same."""
    model = make_model()
    keys = list(model.state_dict())
    model.embedding.embed_dict["city"].requires_grad_(False)
    before = model.embedding.embed_dict["city"].weight.detach().clone()
    options = {"n_epoch": 1, "model_path": None, "progress": False, "regularization_params": {"embedding_l2": 0.01}}
    CTRTrainer(model, torch.optim.Adam, {"lr": 0.1}, **options).fit([make_batch(seed=1), make_batch(seed=2)])
    assert torch.equal(model.embedding.embed_dict["city"].weight, before)
    assert list(model.state_dict()) == keys


def test_modules_hold_an_embedding_for_each_feature():
    """``named_modules`` gives ``embedding.embed_dict.<feature>``, an ``nn.Embedding`` whose weight can be initialised in place."""
    model = make_model()
    embeddings = {name: module for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    assert list(embeddings) == ["embedding.embed_dict.user", "embedding.embed_dict.city"]
    for module in embeddings.values():
        nn.init.constant_(module.weight, 0.5)
    assert (model.embedding.tables["dim4"].weight == 0.5).all()
    assert embeddings["embedding.embed_dict.city"](torch.tensor([3])).tolist() == [[0.5] * 4]


def test_parameters_are_picked_by_the_name_embed_dict():
    """The parameters whose name holds "embed_dict" are those of the embeddings, each once, and the rest are all others."""
    model = make_model()
    model.embedding.embed_dict["user"].requires_grad_(False)
    picked = [parameter for name, parameter in model.named_parameters() if "embed_dict" in name]
    assert sum(parameter.numel() for parameter in picked) == 10 * 4 + 30 * 4  # the frozen rows, and the table
    assert {id(p) for p in model.embedding.embed_dict.parameters()} == {id(p) for p in picked}
    assert not any(id(parameter) in set(map(id, picked)) for parameter in model.mlp.parameters())


def test_a_replaced_embedding_is_read_trained_and_saved():
    """A module that replaces an embedding, also for a sequence shared with it, is what the model reads, trains and saves."""
    model, table = make_model(), torch.randn(20, 4)
    train(model, optimizer := Adam(model.parameters(), lr=0.1))
    model.embedding.embed_dict["city"] = nn.Embedding.from_pretrained(table.clone(), freeze=False)
    x, _ = make_batch()
    expected = torch.stack([model.embedding.embed_dict["user"](x["user"]), table[x["city"]], table[x["past"]].mean(1)], 1)
    torch.testing.assert_close(model.embedding(x, model.fm_features), expected)
    optimizer.detach()
    train(model, Adam(model.parameters(), lr=0.1))
    city = model.embedding.embed_dict["city"].weight
    assert not torch.equal(city, table)
    assert torch.equal(model.state_dict()["embedding.embed_dict.city.weight"], city)
    other = make_model()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.eval()(x), model.eval()(x))
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x))


def test_an_assigned_weight_is_what_the_model_reads():
    """``embed_dict[name].weight = nn.Parameter(...)`` gives the feature this very parameter; another shape is refused."""
    model, weight = make_model(), nn.Parameter(torch.zeros(20, 4))
    model.embedding.embed_dict["city"].weight = weight
    assert any(parameter is weight for parameter in model.parameters())
    assert not model.embedding(make_batch()[0], [model.fm_features[1]]).any()
    with pytest.raises(TypeError, match=r"\(20, 4\)"):
        model.embedding.embed_dict["city"].weight = nn.Parameter(torch.zeros(19, 4))


def test_replacing_by_a_wrong_embedding_is_refused():
    """Too few rows, another width and an unknown name are errors that say what must hold."""
    model = make_model()
    for size in ((19, 4), (20, 5)):
        with pytest.raises(ValueError, match="20 rows of 4"):
            model.embedding.embed_dict["city"] = nn.Embedding(*size)
    with pytest.raises(KeyError, match=r"user.*city"):
        model.embedding.embed_dict["town"] = nn.Embedding(20, 4)


def test_a_hook_on_an_embedding_runs():
    """A forward hook on the embedding of one feature sees and may change what the model reads."""
    model = make_model().eval()
    x, _ = make_batch()
    model(x)  # the plan of the fused lookup is stored
    handle = model.embedding.embed_dict["user"].register_forward_hook(lambda module, ids, output: output * 0)
    assert not model.embedding(x, [model.fm_features[0]]).any()
    handle.remove()
    assert model.embedding(x, [model.fm_features[0]]).any()


def test_freezing_all_of_embed_dict_freezes_the_tables():
    """``embed_dict.requires_grad_(False)`` freezes every table, and the layer trains nothing."""
    layer = EmbeddingLayer([SparseFeature("user", 10, 4), SparseFeature("city", 20, 8)])
    layer.embed_dict.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    layer.embed_dict["city"].requires_grad_(True)
    assert [tuple(parameter.shape) for parameter in layer.parameters() if parameter.requires_grad] == [(20, 8)]
