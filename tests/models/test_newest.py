"""The newest models equal the equations of their papers, row by row."""

from __future__ import annotations

import pytest
import torch
import zoo
from oracle import assert_rows, fields, inputs_of, random_model, stacked


@pytest.mark.parametrize("changes", [{}, {"fs2_context": [zoo.ITEM, zoo.AGE]}, {"use_fs": False}, {"num_heads": 1}])
def test_finalmlp_is_a_bilinear_form_of_two_gated_networks(changes):
    """FinalMLP is eq. 5-10: gates of the contexts, two networks, and a double loop over the entries of each head."""
    model, x = random_model("FinalMLP", **changes)

    def gate(place, row):
        part = model.gates[place]
        context = part.vector[0] if part.embedding is None else inputs_of(part.embedding, part.context, x, row)
        first, out = part.mlp.mlp[0], part.out
        return 2 * torch.sigmoid(out.weight @ torch.relu(first.weight @ context + first.bias) + out.bias)

    def logit(row):
        inputs = inputs_of(model.embedding, model.read_features, x, row)
        gated = [inputs * gate(place, row) for place in range(2)] if len(model.gates) else [inputs, inputs]
        first, second = model.mlp1(gated[0][None])[0], model.mlp2(gated[1][None])[0]
        fusion = model.fusion
        total = fusion.w1.bias[0] + fusion.w1.weight[0] @ first + fusion.w2.weight[0] @ second
        n_first, n_second = len(first) // fusion.num_heads, len(second) // fusion.num_heads
        for k in range(fusion.num_heads):
            for i in range(n_first):
                for j in range(n_second):
                    total = total + first[k * n_first + i] * fusion.w12[k, i, j] * second[k * n_second + j]
        return total

    assert_rows(model, x, logit)


@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_gdcn_is_a_gated_cross_beside_or_below_a_network(structure):
    """GDCN is eq. 2, entry by entry, and the network of the input or of the last cross."""
    model, x = random_model("GDCN", model_structure=structure, n_cross_layers=2)

    def logit(row):
        first = inputs_of(model.embedding, model.features, x, row)
        crossed, d = first, len(first)
        for w, b in zip(model.cross.w, model.cross.b, strict=True):
            gates = [1 / (1 + torch.exp(-w.weight[d + i] @ crossed)) for i in range(d)]
            crossed = torch.stack([first[i] * (w.weight[i] @ crossed + b[i]) * gates[i] + crossed[i] for i in range(d)])
        if structure == "stacked":
            return model.mlp(crossed[None])
        return model.fc(torch.cat([crossed, model.mlp(first[None])[0]]))

    assert_rows(model, x, logit)


def layer_norm(vector):
    """Mean 0 and variance 1."""
    centered = vector - vector.sum() / len(vector)
    return centered / ((centered @ centered) / len(vector) + 1e-5).sqrt()


@pytest.mark.parametrize("changes", [{}, {"model_type": "serial", "dims": [6, 4]}, {"emb_layernorm": False}, {"net_layernorm": False}])
def test_masknet_multiplies_by_masks_of_the_embeddings(changes):
    """MaskNet is eq. 5-9: masks of all embeddings, layer normalisation of each field and block, in parallel or one after the other."""
    model, x = random_model("MaskNet", **changes)

    def block(part, embedded, hidden):
        first, _, second = part.mask
        mask = second.weight @ torch.relu(first.weight @ embedded + first.bias) + second.bias
        out = part.hidden[0].weight @ (mask * hidden)
        if model.blocks[0].hidden[0].bias is None:
            out = layer_norm(out) * part.hidden[1].weight + part.hidden[1].bias
        else:
            out = out + part.hidden[0].bias
        return torch.relu(out)

    def logit(row):
        embedded = hidden = inputs_of(model.embedding, model.features, x, row)
        if model.norm is not None:
            vectors = fields(model.embedding, model.features, x, row)
            normalised = [layer_norm(v) * w + b for v, w, b in zip(vectors, model.norm.weight, model.norm.bias, strict=True)]
            hidden = torch.cat([*normalised, embedded[4 * len(vectors) :]])
        if model.is_serial:
            for part in model.blocks:
                hidden = block(part, embedded, hidden)
            return model.out(hidden)
        return model.out(torch.cat([block(part, embedded, hidden) for part in model.blocks])[None])

    assert_rows(model, x, logit)


@pytest.mark.parametrize("changes", [{}, {"use_feature_gating": True}, {"block1_params": {"dims": [6], "residual": "sum"}}])
def test_finalnet_is_a_linear_layer_with_a_product_of_its_outputs(changes):
    """FinalNet's layers are a linear output and its product with another one, side by side or added; the gates are sums over fields."""
    model, x = random_model("FinalNet", **changes)

    def block(sequence, hidden):
        part, out = sequence
        for layer in part.layers:
            if not hasattr(layer, "residual"):
                hidden = layer(hidden[None])[0]  # batch norm, dropout
                continue
            both = [layer.linear.weight[i] @ hidden + layer.linear.bias[i] for i in range(len(layer.linear.bias))]
            n = len(both) // 2
            products = [both[i] * both[n + i] for i in range(n)]
            added = [both[i] + products[i] for i in range(n)]
            hidden = torch.stack([*both[:n], *products] if layer.residual == "concat" else added)
        return out(hidden)

    def logit(row):
        inputs = first = inputs_of(model.embedding, model.features, x, row)
        if model.gate is not None:
            vectors, linear = fields(model.embedding, model.features, x, row), model.gate.linear
            gates = [sum(linear.weight[i, j] * vectors[j] for j in range(len(vectors))) + linear.bias[i] for i in range(len(vectors))]
            first = torch.cat([inputs, *(vector * gate for vector, gate in zip(vectors, gates, strict=True))])
        return 0.5 * (block(model.block1, first) + block(model.block2, inputs))

    assert_rows(model, x, logit)


@pytest.mark.parametrize("selection", ["shared", "separate", "gate", "experts"])
@pytest.mark.parametrize("fusion", ["sum", "weighted", "vote", "concat", "experts"])
def test_tf4ctr_fuses_two_networks_with_inputs_of_their_own(selection, fusion):
    """TF4CTR's simple and complex networks read selected inputs, and one of five fusions joins them."""
    model, x = random_model("TF4CTR", sample_selection=selection, fusion=fusion)

    def inputs(row):
        whole = inputs_of(model.embedding, model.features, x, row)
        if selection == "separate":
            return inputs_of(model.easy_embedding, model.easy_features, x, row), whole
        if selection == "gate":
            gate = 1 / (1 + torch.exp(-model.selection.mlp(whole[None])[0]))
            return gate * whole, (1 - gate) * whole
        if selection == "shared":
            return whole, whole
        outputs = [expert(whole[None])[0] for expert in model.selection.experts]
        shares = [torch.exp(gate(whole[None])[0]) for gate in model.selection.gates]
        return [(share[0] * outputs[0] + share[1] * outputs[1]) / (share[0] + share[1]) for share in shares]

    def logit(row):
        part = model.fusion
        easy, hard = (net(given[None])[0] for net, given in zip((model.easy, model.hard), inputs(row), strict=True))
        logits = part.easy(easy)[0], part.hard(hard)[0]
        side_by_side = torch.cat([easy, hard])
        if fusion == "sum":
            return logits[0] + logits[1]
        if fusion == "weighted":
            return part.weight[0] * logits[0] + part.weight[1] * logits[1]
        if fusion == "concat":
            return part.fc.weight[0] @ side_by_side + part.fc.bias[0]
        if fusion == "vote":
            powers = [torch.exp(vote(output)[0] / 0.8) for vote, output in zip(part.votes, (easy, hard), strict=True)]
        else:
            powers, logits = torch.exp(part.gate(side_by_side)), part.fc(side_by_side)
        return (powers[0] * logits[0] + powers[1] * logits[1]) / (powers[0] + powers[1])

    assert_rows(model, x, logit)


def test_tf4ctr_separate_tables_of_the_simple_network_are_half_as_wide():
    """With "separate" the simple network has tables of its own, of half the width."""
    model = zoo.model("TF4CTR")
    assert [table.weight.shape[1] for table in model.easy_embedding.tables.values()] == [2]
    assert model.easy_embedding.embed_dict["user"].weight.data_ptr() != model.embedding.embed_dict["user"].weight.data_ptr()


def test_tf4ctr_focuses_on_easy_and_hard_rows():
    """The further loss weighs each row by (c + p_t)^gamma for the simple network, and by (2 - c - p_t)^gamma for the complex one."""
    model, (x, y) = zoo.model("TF4CTR", c=0.7, gamma=1.5, alpha=0.3), zoo.tensors(12)
    weight = torch.arange(1.0, 13.0)
    logits, (easy, hard) = model.outputs(x)
    total = 0.0
    for row in range(12):
        simple, complicated = easy[row].sigmoid(), hard[row].sigmoid()
        p_easy, p_hard = (simple, complicated) if y[row] == 1 else (1 - simple, 1 - complicated)
        loss = -0.3 * p_easy.log() * (0.7 + p_easy) ** 1.5 - 0.7 * p_hard.log() * (2 - 0.7 - p_hard) ** 1.5
        total = total + weight[row] * loss
    torch.testing.assert_close(model.auxiliary_loss(logits, (easy, hard), y, weight), total / weight.sum())


@pytest.mark.parametrize("changes", [{}, {"n_fmb": 2, "n_lcb": 3, "n_layers": 1}])
def test_wukong_stacks_factorization_machines_beside_compressions(changes):
    """A layer of Wukong is LN([FMB(X), LCB(X)] + X): a network of products of pairs times Y, and sums over fields."""
    model, x = random_model("Wukong", **changes)

    def layer_of(part, vectors):
        n, width = len(vectors), len(vectors[0])
        pairs = [[vectors[i] @ vectors[j] for j in range(n)] for i in range(n)]
        products = [sum(pairs[i][j] * part.products[j, k] for j in range(n)) for i in range(n) for k in range(part.products.shape[1])]
        norm, network, out, _ = part.fmb
        hidden = network((layer_norm(torch.stack(products)) * norm.weight + norm.bias)[None])[0]
        made = list((out.weight @ hidden + out.bias).split(width))
        made += [sum(weight[j] * vectors[j] for j in range(n)) for weight in part.lcb.weight]
        rest = vectors if part.residual is None else [sum(w[j] * vectors[j] for j in range(n)) for w in part.residual.weight]
        return [layer_norm(a + b) * part.norm.weight + part.norm.bias for a, b in zip(made, rest, strict=True)]

    def logit(row):
        vectors = stacked(model, x, row)
        for part in model.layers:
            vectors = layer_of(part, vectors)
        return model.mlp(torch.cat(vectors)[None])

    assert_rows(model, x, logit)
