"""What an estimator learnt, told apart from what it is: an origin of its own, so that fitting it anew is no change of its settings.

An estimator of a known package forgets what it learnt when it is fitted again, and most that are made of others train copies
of them. Such a left-out `clf.fit(X, y)` matters only to what asks `clf` for what it learnt.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from data_engine.notebook.shapes import path_of

Origin = tuple[Any, str]
ANEW = "learns anew"
"""The text of a value that forgets what it learnt when it is fitted again."""
RESULTS = "results of what learns anew"
"""The text of what such a model gives when it is fitted: an object of its own, which leads to the model."""
_LEARNT = ".learnt"
_FITS = re.compile(r"fit(_(predict|transform|resample|regularized))?|smooth")
_TELLS_SETTINGS = frozenset({"get_params", "make_params", "guess", "eval", "eval_components"})
"""Methods that read nothing of what was learnt."""
_ANEW = re.compile(
    r"""(sklearn|imblearn|xgboost|lightgbm)(\.\w+)+
    | lmfit(\.models?)?\.\w*Model | statsmodels(\.\w+)*\.((?i:ols|wls|gls|glm|logit|probit|mnlogit|poisson|negativebinomial|quantreg|rlm)(\.from_formula)?|OrderedModel|ETSModel)""",
    re.VERBOSE,
)
_REMEMBERS = re.compile(r"\bwarm_start\b|(?<!lmfit)\.model\b|\b(?i:rlm)\b[\s\S]*\.weights\b")
"""What a notebook says where an estimator goes on from what it learnt, or results are asked for the model behind them."""
_CHANGE_RESULTS = frozenset({"fit", "simulate", "eval_uncertainty", "conf_interval"})
"""Methods of results that leave the model behind them alone."""
_CLONES = re.compile(
    r"""sklearn(\.\w+)*\.(
      \w+SearchCV | CalibratedClassifierCV | (Bagging|AdaBoost|Voting|Stacking)(Classifier|Regressor) | OneVs(Rest|One)Classifier
    | OutputCodeClassifier | MultiOutput(Classifier|Regressor) | (Classifier|Regressor)Chain | RFE | RFECV | SequentialFeatureSelector
    | SelectFromModel | TransformedTargetRegressor | TunedThresholdClassifierCV | SelfTrainingClassifier
    | cross_val_(score|predict) | (learning|validation)_curve | permutation_test_score | clone)""",
    re.VERBOSE,
)


def learnt(origin: Origin) -> Origin:
    """What stands for what an object learnt.

    Example:
        >>> learnt((3, "clf")), is_learnt(learnt((3, "clf"))), plain_name("clf.learnt")
        ((3, 'clf.learnt'), True, 'clf')
    """
    return origin[0], f"{origin[1]}{_LEARNT}"


def is_learnt(origin: Origin) -> bool:
    """Whether an origin stands for what an object learnt."""
    return origin[1].endswith(_LEARNT) and isinstance(origin[0], int)


def plain_name(name: str) -> str:
    """The object's name."""
    return name.removesuffix(_LEARNT)


def without_learnt(origins: Iterable[Origin]) -> frozenset[Origin]:
    """The origins but those of what was learnt: what a copy that learnt nothing shares."""
    return frozenset(origin for origin in origins if not is_learnt(origin))


def fitted(origins: frozenset[Origin]) -> frozenset[Origin]:
    """What fitting changes of these: what they learnt, or all of an object of which that is not told apart.

    Example:
        >>> sorted(fitted(frozenset({(3, "clf"), (3, "clf.learnt"), (4, "own")})))
        [(3, 'clf.learnt'), (4, 'own')]
    """
    return frozenset(origin for origin in origins if is_learnt(origin) or learnt(origin) not in origins)


def fits(method: str, keywords: Collection[str] = ()) -> bool:
    """Whether a method fits an estimator anew, and is given no keyword that also sets something for the next time.

    Example:
        >>> fits("fit"), fits("fit_transform"), fits("partial_fit"), fits("fit", {"nan_policy"})
        (True, True, False, False)
    """
    return _FITS.fullmatch(method) is not None and "nan_policy" not in keywords


def changes_results_only(text: str, method: str) -> bool:
    """Whether a method of an object with this text changes nothing but the results that it is called on.

    Example:
        >>> changes_results_only(RESULTS, "simulate"), changes_results_only(RESULTS, "remove_data")
        (True, False)
    """
    return text == RESULTS and method in _CHANGE_RESULTS


def learns_anew(dotted: str) -> bool:
    """Whether what a call makes forgets what it learnt when it is fitted again, and its results keep nothing of it.

    Example:
        >>> learns_anew("sklearn.svm.SVC"), learns_anew("statsmodels.api.OLS"), learns_anew("statsmodels.api.GEE")
        (True, True, False)
    """
    return _ANEW.fullmatch(dotted) is not None


def remembers(text: str) -> bool:
    """Whether a notebook has estimators that go on from what they learnt.

    Example:
        >>> remembers("SGDClassifier(warm_start=True)"), remembers("SGDClassifier()")
        (True, False)
    """
    return _REMEMBERS.search(text) is not None


def clones(dotted: str, call: ast.Call) -> bool:
    """Whether what is called trains copies of the estimators it is given.

    Example:
        >>> calls = [ast.parse(text, mode="eval").body for text in ("f(m)", "f(m, cv='prefit')")]
        >>> [clones("sklearn.calibration.CalibratedClassifierCV", call) for call in calls]
        [True, False]
    """
    if not _CLONES.fullmatch(dotted):
        return False
    says = (getattr(keyword.value, "value", None) for keyword in call.keywords)
    return not any(keyword.arg in (None, "prefit", "ensemble") for keyword in call.keywords) and "prefit" not in says


def asks_what_was_learnt(node: ast.AST, name: str, dotted: Callable[[tuple[str, ...]], str]) -> bool:
    """Whether a statement reads more of an estimator than to fit it anew or to have copies of it trained.

    Example:
        >>> texts = ("r = m.fit(X)", "g = GridSearchCV(m, {})", "y = m.fit(X).predict(Z) + m.score(X)")
        >>> [asks_what_was_learnt(ast.parse(text), "m", lambda path: f"sklearn.{path[0]}") for text in texts]
        [False, False, True]
    """
    harmless: set[int] = set()
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            if isinstance(call.func, ast.Attribute) and (fits(call.func.attr) or call.func.attr in _TELLS_SETTINGS):
                harmless.add(id(call.func.value))
            elif clones(dotted(path_of(call)).removesuffix("()"), call):
                harmless.update(id(part) for argument in call.args for part in _listed(argument))
    return any(isinstance(part, ast.Name) and part.id == name and id(part) not in harmless for part in ast.walk(node))


def _listed(node: ast.expr) -> list[ast.expr]:
    """An argument, or what a list or tuple as written consists of."""
    if not isinstance(node, (ast.List, ast.Tuple)):
        return [node]
    return [part for element in node.elts for part in _listed(element)]
