"""The registry: every method with what it needs, its function, its equation and its source."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ifcore import influence
from ifcore.ekfac import ekfac
from ifcore.gram import Gram, check_damping
from ifcore.representations import repsim

GRADIENTS, FACTORS, STATES, CHECKPOINTS = "gradients", "factors", "states", "checkpoints"


@dataclass(frozen=True)
class Method:
    """One way to score training examples; its key in `METHODS` is what calls, commands and files call it.

    `function` makes scores [M, N], higher = more influential; one that needs gradients alone takes a `Gram`. `kind`:
    whether it derives from the change of a loss or compares what the model makes of two examples. `equation` is LaTeX.
    `options`: those of `attribute` that the function takes. `default`: whether `attribute` computes it unless told
    otherwise. `totals`: where scores are no sum over blocks, what is summed in their place, for
    `influence.divide_by_lengths`.
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
        display_name="RepSim", kind="similarity", needs=(STATES,), function=repsim,
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
        display_name="GradSim (Adam)", kind="influence", needs=(GRADIENTS, CHECKPOINTS), function=influence.gradsim,
        about="the product of the gradients as Adam scaled them",
        equation=r"\sum_b V_b \, \mathrm{diag}(\sqrt{\hat v} + 10^{-8})^{-1} G_b^\top",
        reference="Xia et al. 2024, arXiv 2402.04333",
    ),
    "ekfac": Method(
        display_name="EK-FAC", kind="influence", needs=(GRADIENTS, FACTORS), function=ekfac,
        options=("damping",),
        about="influence, the Fisher of each linear map by Kronecker factors",
        equation=r"\sum_b \tilde V_b (\Lambda_b + \lambda_b)^{-1} \tilde G_b^\top",
        reference="Grosse et al. 2023, arXiv 2308.03296",
    ),
    "tracin": Method(
        display_name="TracIn", kind="influence", needs=(GRADIENTS, CHECKPOINTS), function=influence.tracin,
        about="products of the gradients, summed over checkpoints",
        equation=r"\sum_t \eta_t \sum_b C_b^{(t)}",
        reference="Pruthi et al. 2020, arXiv 2002.08484",
    ),
}
# fmt: on
DEFAULT = tuple(key for key, method in METHODS.items() if method.default)
OF_GRAM = tuple(key for key, method in METHODS.items() if method.needs == (GRADIENTS,))
OF_MODEL = tuple(key for key, method in METHODS.items() if CHECKPOINTS not in method.needs)  # no earlier epochs needed


def check_methods(keys: Sequence[str], damping: float, iterations: int) -> tuple[str, ...]:
    """The methods that were asked for, each once; ValueError for an unknown one or a wrong option."""
    keys = tuple(dict.fromkeys([keys] if isinstance(keys, str) else keys))
    if unknown := [key for key in keys if key not in OF_MODEL]:
        needs = " needs checkpoints, and there are none here" if unknown[0] in METHODS else ""
        raise ValueError(f"methods: {unknown[0]!r}{needs}; choose from {', '.join(OF_MODEL)}")
    if not keys:
        raise ValueError(f"methods: none; choose from {', '.join(OF_MODEL)}")
    check_damping(damping)
    if iterations < 0:
        raise ValueError(f"iterations: {iterations}; must be 0 or more")
    return keys


def gram_scores(
    grams: Iterable[Gram], keys: Sequence[str], damping: float = 0.1, iterations: int = 10
) -> dict[str, Tensor]:
    """Key of `OF_GRAM` -> scores [M, N], from a `Gram` of all blocks or, the same but for rounding, one a block."""
    options: dict[str, Any] = {"damping": damping, "iterations": iterations}
    sums: dict[str, tuple[Tensor, ...]] = {}
    for gram in grams:
        for key in keys:
            method = METHODS[key]
            chosen = {name: options[name] for name in method.options}
            parts = method.totals(gram, **chosen) if method.totals else (method.function(gram, **chosen),)
            sums[key] = tuple(a + b for a, b in zip(sums[key], parts, strict=True)) if key in sums else parts
    return {key: influence.divide_by_lengths(*sums[key]) if METHODS[key].totals else sums[key][0] for key in keys}
