"""The contenders from PyPI, used as their documentation shows, in the environment of requirements-bench.txt.

They have the same model, adapter and loss as all contenders, and, except dattri, the same batches of training examples.
Each returns the function to be timed, as in `contenders`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from tests.bench import job
from tests.bench.contenders import Work


def bergson(folder: Path, dtype: torch.dtype) -> Work:
    """Gradients of the queries in memory, then every training batch scored against them as it is computed."""
    import bergson as library
    from bergson.score.score_writer import InMemorySequenceScoreWriter
    from bergson.utils.peft import detect_peft_modules
    from datasets import Dataset

    model, rows = job.load(folder, dtype), job.read(folder)
    sets = {
        part: Dataset.from_list([{name: row[name] for name in ("input_ids", "labels")} for row in rows[part]])
        for part in ("train", "val")
    }
    modules = detect_peft_modules(model)

    def collected(part: str, scorer=None):
        path = tempfile.mkdtemp(dir=folder)
        settings = library.IndexConfig(run_path=path, loss_reduction="mean")
        settings.partial_run_path.mkdir(parents=True, exist_ok=True)
        collector = library.InMemoryCollector(
            model=model.base_model, data=sets[part], cfg=settings, target_modules=modules, scorer=scorer
        )
        places = range(len(sets[part]))
        batches = [list(places[start : start + job.BATCH]) for start in places[:: job.BATCH]]
        library.CollectorComputer(
            model=model, data=sets[part], collector=collector, batches=batches, cfg=settings
        ).run_with_collector_hooks(part)
        return collector

    def work():
        queries = collected("val").gradients
        writer = InMemorySequenceScoreWriter(len(sets["train"]), len(sets["val"]))
        scorer = library.Scorer(queries, list(queries), writer, torch.device("cpu"), torch.float32)
        collected("train", scorer)
        return {"gradsim": writer.scores.T.contiguous()}

    return work


def kronfluence(folder: Path, dtype: torch.dtype) -> Work:
    """Its `identity` strategy, dot products of gradients."""
    return _kronfluence(folder, dtype, "identity", "gradsim")


def kronfluence_ekfac(folder: Path, dtype: torch.dtype) -> Work:
    """EK-FAC of the empirical Fisher."""
    return _kronfluence(folder, dtype, "ekfac", "ekfac")


def _kronfluence(folder: Path, dtype: torch.dtype, strategy: str, name: str) -> Work:
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from kronfluence.utils.dataset import DataLoaderKwargs

    model, rows = job.load(folder, dtype), job.read(folder)
    tracked = [key for key, _ in model.named_modules() if key.endswith((".lora_A.default", ".lora_B.default"))]

    class Losses(Task):
        def compute_train_loss(self, batch, model, sample=False):
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            return job.example_losses(logits, batch["labels"]).sum()

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self):
            return tracked

        def get_attention_mask(self, batch):
            return batch["attention_mask"]

    def work():
        task = Losses()
        prepared = prepare_model(model, task)
        analyzer = Analyzer(
            "bench", prepared, task, cpu=True, disable_tqdm=True, output_dir=tempfile.mkdtemp(dir=folder)
        )
        analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=job.pad))
        analyzer.fit_all_factors(
            factors_name="factors",
            dataset=rows["train"],
            per_device_batch_size=job.BATCH,
            factor_args=FactorArguments(strategy=strategy, use_empirical_fisher=True),
        )
        analyzer.compute_pairwise_scores(
            scores_name="scores",
            factors_name="factors",
            query_dataset=rows["val"],
            train_dataset=rows["train"],
            # One batch: every further one would compute all training gradients again.
            per_device_query_batch_size=len(rows["val"]),
            per_device_train_batch_size=job.BATCH,
            score_args=ScoreArguments(damping_factor=None),
        )
        return {name: analyzer.load_pairwise_scores("scores")["all_modules"]}

    return work


def dattri(folder: Path, dtype: torch.dtype) -> Work:
    """Its TracIn at one checkpoint without normalising, Grad-Dot; vmap needs all examples at one length."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask
    from torch.utils.data import DataLoader

    model, rows = job.load(folder, dtype), job.read(folder)
    model.get_base_model().set_attn_implementation("eager")  # vmap turns the fused kernel into a loop
    longest = max(len(row["input_ids"]) for part in ("train", "val") for row in rows[part])
    layers = [name for name, _ in model.named_parameters() if "lora_" in name]

    def loss(parameters, data):
        ids, mask, labels = (tensor.unsqueeze(0) for tensor in data)
        causal = torch.ones(longest, longest, dtype=torch.bool).tril() & mask.bool()[:, None, None, :]
        blocked = torch.zeros(causal.shape, dtype=dtype).masked_fill(~causal, torch.finfo(dtype).min)
        logits = torch.func.functional_call(model, parameters, (ids,), {"attention_mask": blocked}).logits
        return job.example_losses(logits, labels).sum()

    def loader(part: str) -> DataLoader:
        batch = job.pad(rows[part], longest)
        columns = batch["input_ids"], batch["attention_mask"], batch["labels"]
        return DataLoader(list(zip(*columns, strict=True)), batch_size=10)  # every batch computes all queries again

    def work():
        state = dict(model.named_parameters())
        task = AttributionTask(loss_func=loss, model=model, checkpoints=[state], checkpoints_load_func=lambda m, _: m)
        attributor = TracInAttributor(task, weight_list=torch.ones(1), normalized_grad=False, layer_name=layers)
        attributor.projector_kwargs = None
        return {"gradsim": attributor.attribute(loader("train"), loader("val")).T.contiguous()}

    return work
