"""Which calls draw from streams of random numbers, and which seed them, by their dotted names."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from data_engine.notebook.kinds import ESTIMATOR, FRAME, PIPELINE, POLARS, made_by

_DRAWS = re.compile(
    r"""(?P<numpy>numpy\.random)\.(?!seed$|default_rng$|RandomState$|Generator$|get_state$|set_state$|SeedSequence$|[A-Z])\w+
    | (?P<random>random)\.(?!seed$|getstate$|setstate$|[A-Z])\w+
    | (?P<torch>torch)\.(?:rand\w*|normal|multinomial|bernoulli|poisson)
    | (?P<state>sklearn\.(?:\w+\.(?:train_test_split|shuffle|resample|permutation_\w+|k_means|kmeans_plusplus)|datasets\.make_\w+)|imblearn\.datasets\.make_imbalance
        |scipy\.stats\.\w+\.rvs|statsmodels(?:\.\w+)*\.arma_generate_sample
        |seaborn\.(?:regplot|lmplot|residplot|barplot|pointplot|lineplot|stripplot|catplot|relplot|jointplot|pairplot))""",
    re.VERBOSE,
)
_DRAWS_NOTHING = re.compile(
    r"""
      sklearn\.(preprocessing|feature_extraction|naive_bayes|neighbors|compose|isotonic|discriminant_analysis|kernel_ridge
        |cross_decomposition|pipeline|metrics|feature_selection|gaussian_process|covariance\.\w*(Covariance|Wolf|OAS|Lasso\w*))(\.\w+)*
        (?<!QuantileTransformer)(?<!KBinsDiscretizer)
    | sklearn(\.\w+)*\.((Multi\w*|Group|MultiTask|Bayesian)?(Linear|Logistic|Ridge|Lasso|Lars|Elastic|Huber|Quantile|Poisson|Gamma|Tweedie|ARD)
        (?!SVC|SVR)\w*|\w*Ridge\w*|(Nu)?SV[CR]|OneClassSVM|\w*(Voting|Stacking|Search|OneVs|Calibrated|Output|Target|SelfTraining)\w*
        |(Simple|KNN)Imputer|H?DBSCAN|Agglomerat\w*|FeatureAgg\w*|MeanShift|OPTICS|Birch|Isomap|\w*(KFold|LeaveOne|LeaveP|TimeSeries)\w*
        |Dummy(?!Classifier)\w*|clone|make_column_transformer)
    """,
    re.VERBOSE,
)
GLOBAL_STREAM = ("stream", "numpy.random")
"""What stands for the numbers that NumPy gives to the whole process; scikit-learn and SciPy draw from it too."""
_SEEDS = re.compile(r"(numpy\.random|random|torch|polars)\.(seed|manual_seed|set_random_seed|set_state|setstate)")
_SEEDED = frozenset({"random_state", "rng"})
_DRAWS_BY_METHOD = {
    (FRAME, "sample"): (frozenset({"random_state"}), "numpy.random"),
    (POLARS, "sample"): (frozenset({"seed"}), "polars"),
    (POLARS, "shuffle"): (frozenset({"seed"}), "polars"),
    **dict.fromkeys((("", "rvs"), ("", "generate_sample"), ("", "simulate")), (_SEEDED, "numpy.random")),
}
"""The keywords that seed a method and the stream that it draws from without them; "" for objects of any kind."""
_STREAMS = {"numpy": "numpy.random", "random": "random", "torch": "torch", "state": "numpy.random"}


def draws_from(dotted: str, keywords: set[str]) -> str:
    """The process-wide stream of random numbers that a call draws from, "" for none.

    Example:
        >>> draws_from("numpy.random.rand", set()), draws_from("random.seed", set())
        ('numpy.random', '')
        >>> draws_from("sklearn.model_selection.train_test_split", {"random_state"})
        ''
    """
    match = _drawn(dotted)
    if match is None or (match["state"] and not keywords.isdisjoint(("random_state", "seed"))):
        return ""
    return _STREAMS[str(match.lastgroup)]


@lru_cache(maxsize=4096)
def _drawn(dotted: str) -> re.Match[str] | None:
    return _DRAWS.fullmatch(dotted)


def trains_by_chance(dotted: str, keywords: set[str]) -> bool:
    """Whether what a class of scikit-learn or imbalanced-learn makes draws from NumPy's process-wide stream when it is trained.

    Example:
        >>> trains_by_chance("sklearn.cluster.KMeans", set()), trains_by_chance("sklearn.cluster.KMeans", {"random_state"})
        (True, False)
        >>> trains_by_chance("sklearn.linear_model.Ridge", set()), trains_by_chance("sklearn.model_selection.KFold", {"shuffle"})
        (False, True)
    """
    if (
        made_by(dotted) not in (ESTIMATOR, PIPELINE)
        or not dotted.startswith(("sklearn.", "imblearn."))
        or "random_state" in keywords
    ):
        return False
    return "shuffle" in keywords or _DRAWS_NOTHING.fullmatch(dotted) is None


def draws_by_method(kind: str, method: str, keywords: Collection[str]) -> str:
    """The process-wide stream of random numbers that a method draws from unless it is given a seed, "" for none.

    Example:
        >>> draws_by_method("frame", "sample", ["n"]), draws_by_method("frame", "sample", ["random_state"])
        ('numpy.random', '')
        >>> draws_by_method("unknown", "rvs", ["size"])
        'numpy.random'
    """
    found = _DRAWS_BY_METHOD.get((kind, method)) or _DRAWS_BY_METHOD.get(("", method))
    if found is None:
        return ""
    seeding, stream = found
    return stream if seeding.isdisjoint(keywords) else ""


def seeds(dotted: str) -> str:
    """The process-wide stream that a call seeds, "" for none.

    Example:
        >>> seeds("numpy.random.seed"), seeds("random.random")
        ('numpy.random', '')
    """
    match = _SEEDS.fullmatch(dotted)
    return match[1] if match else ""
