"""Metrics: streaming metrics that merge exactly, and plain functions under the names of the existing package."""

from torch_rechub.basic.metric.auc import AUC
from torch_rechub.basic.metric.base import Metric
from torch_rechub.basic.metric.beyond import coverage_score, diversity_score, novelty_score
from torch_rechub.basic.metric.bootstrap import grouped_bootstrap_test
from torch_rechub.basic.metric.catalogue import CatalogueMetric, get_catalogue_metric
from torch_rechub.basic.metric.delong import DeLongResult, delong_test, delong_variance
from torch_rechub.basic.metric.function import FunctionMetric
from torch_rechub.basic.metric.functions import auc_score, gauc_score, get_user_pred, log_loss
from torch_rechub.basic.metric.gauc import GAUC
from torch_rechub.basic.metric.mean import MeanMetric
from torch_rechub.basic.metric.pointwise import MAE, RMSE, Accuracy, Calibration, LogLoss, NormalizedEntropy
from torch_rechub.basic.metric.registry import MetricSpec, get_metric
from torch_rechub.basic.metric.topk import hit_score, mrr_score, ndcg_score, precision_score, recall_score, topk_metrics

__all__ = [
    # streaming metrics
    "Metric",
    "MeanMetric",
    "FunctionMetric",
    "MetricSpec",
    "get_metric",
    "AUC",
    "GAUC",
    "LogLoss",
    "NormalizedEntropy",
    "Calibration",
    "Accuracy",
    "RMSE",
    "MAE",
    # streaming, of ranked lists
    "CatalogueMetric",
    "get_catalogue_metric",
    # functions of arrays
    "auc_score",
    "gauc_score",
    "get_user_pred",
    "log_loss",
    # tests of the difference of two AUCs
    "delong_test",
    "delong_variance",
    "DeLongResult",
    "grouped_bootstrap_test",
    # functions of recommended lists
    "topk_metrics",
    "ndcg_score",
    "mrr_score",
    "recall_score",
    "hit_score",
    "precision_score",
    "coverage_score",
    "diversity_score",
    "novelty_score",
]
