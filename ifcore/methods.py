"""The registry: every method with what it needs, its function, its equation and its source."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ifcore import influence, model_methods
from ifcore.gram import Gram, check_damping
from ifcore.inputs import Inputs
from ifcore.projection import Projection

GRADIENTS, FACTORS, STATES, CHECKPOINTS = "gradients", "factors", "states", "checkpoints"


@dataclass(frozen=True)
class Method:
    """One way to score training examples; its key in `METHODS` is what calls, commands and files call it.

    `function` makes scores [M, N], higher = more influential: of a `Gram`, where gradients are all that it `needs`, and
    of `Inputs` otherwise. `kind`: whether it derives from the change of a loss or compares what the model makes of two
    examples. `equation` is LaTeX. `options`: those of `attribute` that the function takes. `default`: whether
    `attribute` computes it unless told otherwise. `totals`: where scores are no sum over blocks, what is summed in
    their place, for `influence.divide_by_lengths`. `check`: raises ValueError for inputs that
    it can't do, before anything is computed.
    """

    display_name: str
    about: str
    kind: Literal["influence", "similarity"]
    needs: tuple[str, ...]
    function: Callable[..., Tensor]
    equation: str
    reference: str
    options: tuple[str, ...] = ()
    default: bool = False
    totals: Callable[..., tuple[Tensor, ...]] | None = None
    check: Callable[[Inputs], None] | None = None


# fmt: off
METHODS = {
    "datainf": Method(
        display_name="DataInf", kind="influence", needs=(GRADIENTS,), function=influence.datainf,
        options=("damping",), default=True,
        about="influence, the inverse Hessian approximated example by example",
        equation=r"\sum_b \lambda_b^{-1} [C_b - N^{-1} (C_b \oslash (\lambda_b + \mathrm{diag} K_b)) K_b]",
        reference="Kwon et al. 2023, arXiv 2310.00902",
    ),
    "lissa": Method(
        display_name="LiSSA", kind="influence", needs=(GRADIENTS,), function=influence.lissa,
        options=("damping", "iterations"), default=True,
        about="influence, the inverse Hessian by a few steps of an iteration",
        equation=r"r \leftarrow v + (I - \alpha_b (H_b + \lambda_b I)) r",
        reference="Agarwal et al. 2017, arXiv 1602.03943",
    ),
    "gradsim": Method(
        display_name="GradSim", kind="influence", needs=(GRADIENTS,), function=influence.gradsim,
        default=True,
        about="the product of the two gradients",
        equation=r"\sum_b C_b",
        reference="Pruthi et al. 2020, arXiv 2002.08484",
    ),
    "exact": Method(
        display_name="Exact", kind="influence", needs=(GRADIENTS,), function=influence.exact,
        options=("damping",), default=True,
        about="influence, the damped empirical Fisher inverted exactly",
        equation=r"\sum_b N C_b (K_b + N \lambda_b I)^{-1}",
        reference="the Woodbury identity",
    ),
    "repsim": Method(
        display_name="RepSim", kind="similarity", needs=(STATES,), function=model_methods.repsim_scores,
        default=True,
        about="how alike the hidden states before the answers are; no gradients",
        equation=r"\cos(h_\mathrm{val}, h_\mathrm{train})",
        reference="Li et al. 2024, arXiv 2409.19998",
    ),
    "cosine": Method(
        display_name="GradSim (cosine)", kind="influence", needs=(GRADIENTS,), function=influence.cosine,
        totals=influence.cosine_totals,
        about="the cosine of the two gradients",
        equation=r"\cos(g_\mathrm{val}, g_\mathrm{train})",
        reference="Xia et al. 2024, arXiv 2402.04333",
    ),
    "relatif": Method(
        display_name="RelatIF", kind="influence", needs=(GRADIENTS,), function=influence.relatif,
        options=("damping",), totals=influence.relatif_totals,
        about="exact influence beside its size, so that outliers don't lead",
        equation=r"\mathrm{exact} / \lVert (H + \lambda I)^{-1} g_i \rVert",
        reference="Barshan et al. 2020, arXiv 2003.11630",
    ),
    "adam": Method(
        display_name="GradSim (Adam)", kind="influence", needs=(GRADIENTS, CHECKPOINTS),
        function=model_methods.adam_scores, check=model_methods.check_moments,
        about="the product of the gradients as Adam scaled them",
        equation=r"\sum_b V_b \, \mathrm{diag}(\sqrt{\hat v} + 10^{-8})^{-1} G_b^\top",
        reference="Xia et al. 2024, arXiv 2402.04333",
    ),
    "ekfac": Method(
        display_name="EK-FAC", kind="influence", needs=(GRADIENTS, FACTORS), function=model_methods.ekfac_scores,
        options=("damping",), check=model_methods.check_linear_maps,
        about="influence, the Fisher of each linear map by Kronecker factors",
        equation=r"\sum_b \tilde V_b (\Lambda_b + \lambda_b)^{-1} \tilde G_b^\top",
        reference="Grosse et al. 2023, arXiv 2308.03296",
    ),
    "tracin": Method(
        display_name="TracIn", kind="influence", needs=(GRADIENTS, CHECKPOINTS), function=model_methods.tracin_scores,
        check=model_methods.check_checkpoints,
        about="products of the gradients, summed over checkpoints",
        equation=r"\sum_t \eta_t \sum_b C_b^{(t)}",
        reference="Pruthi et al. 2020, arXiv 2002.08484",
    ),
    "ekfac_sampled": Method(
        display_name="EK-FAC (sampled)", kind="influence", needs=(GRADIENTS, FACTORS), options=("damping",),
        function=model_methods.ekfac_sampled_scores, check=model_methods.check_linear_maps,
        about="EK-FAC with the Fisher of labels drawn from the model",
        equation=r"\sum_b \tilde V_b (\hat\Lambda_b + \lambda_b)^{-1} \tilde G_b^\top, \; "
        r"\hat\Lambda_b = \mathrm{mean}_i \tilde F_i^2, \; \hat y \sim p_\theta",
        reference="Grosse et al. 2023, arXiv 2308.03296",
    ),
    "rept": Method(
        display_name="RepT", kind="similarity", needs=(STATES, GRADIENTS), function=model_methods.rept_scores,
        about="how alike hidden states are, joined with their gradients, at the layer where they change most",
        equation=r"\cos([h, \partial\ell/\partial h]_\mathrm{val}, [h, \partial\ell/\partial h]_\mathrm{train})",
        reference="Li et al. 2025, arXiv 2510.02334",
    ),
    "source": Method(
        display_name="SOURCE", kind="influence", needs=(GRADIENTS, CHECKPOINTS), function=model_methods.source_scores,
        check=model_methods.check_memory,
        about="training unrolled in up to three segments of checkpoints, the Hessian constant in each",
        equation=r"\sum_l v_l \, (I - e^{-\eta_l H_l}) H_l^{-1} \, \bar g_l, \; v_{l-1} = v_l \, e^{-\eta_l H_l}",
        reference="Bae et al. 2024, arXiv 2405.12186",
    ),
    "unrolled": Method(
        display_name="Unrolled", kind="influence", needs=(CHECKPOINTS,), function=model_methods.unrolled_scores,
        check=model_methods.check_replay,
        about="the derivative of the fine-tune as it ran, by backpropagation through every step of it",
        equation=r"-\partial \ell_\mathrm{val}(\theta_T(w)) / \partial w_i",
        reference="Ilyas and Engstrom 2025, arXiv 2504.16430",
    ),
}
# fmt: on
DEFAULT = tuple(key for key, method in METHODS.items() if method.default)
OF_GRAM = tuple(key for key, method in METHODS.items() if method.needs == (GRADIENTS,))


def check_methods(
    keys: Sequence[str], damping: float, iterations: int, checkpoints: Any = None, projection: int | None = None
) -> tuple[str, ...]:
    """The methods that were asked for, each once; ValueError for an unknown one or a wrong option."""
    keys = tuple(dict.fromkeys([keys] if isinstance(keys, str) else keys))
    if unknown := [key for key in keys if key not in METHODS]:
        raise ValueError(f"methods: {unknown[0]!r}; choose from {', '.join(METHODS)}")
    if not keys:
        raise ValueError(f"methods: none; choose from {', '.join(METHODS)}")
    for key in keys:
        if checkpoints is None and CHECKPOINTS in METHODS[key].needs:
            raise ValueError(f"methods: {key} needs checkpoints; name their folder (--checkpoints), or leave it out")
        if projection is not None and not set(METHODS[key].needs) <= {GRADIENTS, STATES}:
            raise ValueError(f"methods: {key} does without projection; leave that out, or the method")
    if projection is not None:
        Projection(projection)
    check_damping(damping)
    if iterations < 0:
        raise ValueError(f"iterations: {iterations}; must be 0 or more")
    return keys


def check_inputs(keys: Sequence[str], inputs: Inputs) -> None:
    """Raise ValueError for inputs that one of the methods can't do, before anything is computed."""
    for check in dict.fromkeys(METHODS[key].check for key in keys):
        if check is not None:
            check(inputs)


def compute_scores(
    inputs: Inputs, keys: Sequence[str], damping: float = 0.1, iterations: int = 10
) -> dict[str, Tensor]:
    """Key -> scores [M, N]."""
    of_gram = [key for key in keys if key in OF_GRAM]
    scores = gram_scores(inputs.grams(), of_gram, damping, iterations) if of_gram else {}
    for key in sorted(keys, key=lambda key: METHODS[key].needs == (STATES,)):  # which a pass for others yields
        if key not in scores:
            scores[key] = METHODS[key].function(inputs, **_chosen(METHODS[key], damping, iterations))
    return {key: scores[key] for key in keys}


def gram_scores(
    grams: Iterable[Gram], keys: Sequence[str], damping: float = 0.1, iterations: int = 10
) -> dict[str, Tensor]:
    """Key of `OF_GRAM` -> scores [M, N], from a `Gram` of all blocks or, the same but for rounding, one a block."""
    sums: dict[str, tuple[Tensor, ...]] = {}
    for gram in grams:
        for key in keys:
            method = METHODS[key]
            chosen = _chosen(method, damping, iterations)
            parts = method.totals(gram, **chosen) if method.totals else (method.function(gram, **chosen),)
            sums[key] = tuple(a + b for a, b in zip(sums[key], parts, strict=True)) if key in sums else parts
    return {key: influence.divide_by_lengths(*sums[key]) if METHODS[key].totals else sums[key][0] for key in keys}


def _chosen(method: Method, damping: float, iterations: int) -> dict[str, Any]:
    options: dict[str, Any] = {"damping": damping, "iterations": iterations}
    return {name: options[name] for name in method.options}
