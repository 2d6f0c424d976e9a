"""How long a validation will take, and how much it will tell, said before it starts."""

from collections import Counter
from collections.abc import Callable, Collection

from peft import PeftModel

from ifcore.bank import Bank, Retraining
from ifcore.batches import batches
from ifcore.datamodels import widest_interval
from ifcore.forecast import duration, seconds_a_token
from ifcore.parts import Parts
from ifcore.retraining_plan import Plan

EXPECTED = 0.7  # a score to say the interval of
FORWARD = 1 / 3  # of a pass forward and backward


def retraining_seconds(model: PeftModel, bank: Bank, parts: Parts, pad_id: int | None) -> Callable[[Retraining], float]:
    """How long a retraining takes, with its look at the explained examples, as fast as a step was just now."""
    size = bank.settings.micro_batch or bank.settings.batch_size
    padded = batches(parts.sequences["train"], size, pad_id)
    padding = sum(batch.input_ids.numel() for batch in padded) / sum(map(len, parts.sequences["train"]))
    pace = seconds_a_token(model, padded) * padding
    evaluated = FORWARD * sum(map(len, parts.sequences["val"]))
    return lambda retraining: pace * (bank.cost(retraining) + evaluated)


def announcement(plan: Plan, bank: Bank, seconds: Callable[[Retraining], float], names: Collection[str]) -> str:
    """What is about to be retrained, how long it takes, and how wide intervals will be."""
    planned = {retraining.name: retraining for retraining in plan.subsets()}
    missing = [retraining for retraining in planned.values() if not bank.is_made(retraining)]
    total = sum(map(seconds, missing)) + plan.removals(names) * seconds(Retraining((0,)))
    lines = [
        f"{len(plan.halves)} halves ({int(plan.halves[0].sum())} of {len(plan.labels)} examples, {_classes(plan)})"
    ]
    lines += [f"{len(plan.tuning)} for the damping"] if len(plan.tuning) else []
    lines += [f"{plan.replicated} again from another seed"] if plan.replicated else []
    lines += [f"{len(plan.labels)} without one example"] if plan.alone else []
    lines += [f"up to {plan.removals(names)} without the {plan.removed} on top"] if plan.removed else []
    widest = widest_interval(EXPECTED, len(plan.halves))
    interval = f"[{widest.low:.2f}, {widest.high:.2f}] or narrower"
    return (
        f"fine-tunes: {', '.join(lines)}; {len(planned) - len(missing)} are there, the others take about "
        f"{duration(total)}. A score of {EXPECTED} will have an interval of {interval}"
    )


def _classes(plan: Plan) -> str:
    """What halves keep of the classes."""
    sizes = Counter(plan.labels).values()
    single, several = sum(size == 1 for size in sizes), sum(size > 1 for size in sizes)
    if len(sizes) == 1:
        return "all of one class"
    parts = [f"half of each of {several} classes"] if several else []
    parts += [f"half of {single} examples that are each alone in their class"] if single else []
    return " and ".join(parts)
