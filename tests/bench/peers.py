"""The contenders from PyPI, used as their documentation shows, in the environment of requirements-bench.txt.

They have the same model, adapter and loss as all contenders, and, except dattri, the same batches of training examples.
Each returns the function to be timed, as in `contenders`.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import torch

from tests.bench import job
from tests.bench.contenders import Work


def bergson(folder: Path, dtype: torch.dtype) -> Work:
    """Gradients of the queries in memory, then every training batch scored against them as it is computed."""
    return _bergson(folder, dtype, None)


def bergson_projected(folder: Path, dtype: torch.dtype) -> Work:
    """The same of gradients projected from both sides, to as many numbers as ours are."""
    return _bergson(folder, dtype, math.isqrt(job.PROJECTED))


def _bergson(folder: Path, dtype: torch.dtype, side: int | None) -> Work:
    import bergson as library
    from bergson.score.score_writer import InMemorySequenceScoreWriter
    from bergson.utils.peft import detect_peft_modules
    from datasets import Dataset

    model, rows = job.load(folder, dtype), job.read(folder)
    sets = {
        part: Dataset.from_list([{name: row[name] for name in ("input_ids", "labels")} for row in rows[part]])
        for part in ("train", "val")
    }
    modules, processor = detect_peft_modules(model), library.GradientProcessor(projection_dim=side)

    def collected(part: str, scorer=None):
        path = tempfile.mkdtemp(dir=folder)
        settings = library.IndexConfig(run_path=path, loss_reduction="mean")
        settings.partial_run_path.mkdir(parents=True, exist_ok=True)
        collector = library.InMemoryCollector(
            model=model.base_model,
            data=sets[part],
            cfg=settings,
            target_modules=modules,
            processor=processor,
            scorer=scorer,
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


def bergson_magic(folder: Path, dtype: torch.dtype) -> Work:
    """MAGIC with one query after another, of a fine-tune with the same start, batches, rates, AdamW and clipping.

    Its loss of a batch is the mean over tokens, which is that over examples where all have as many.
    """
    from bergson.config.config import LRScheduleConfig, QuerySetConfig
    from bergson.magic import DataStream, MagicConfig, prepare_trainer
    from bergson.magic.cli import compute_per_query_magic_scores
    from bergson.magic.data_stream import Padding
    from datasets import Dataset

    rows, path = job.read(folder), tempfile.mkdtemp(dir=folder)
    settings = MagicConfig(
        run_path=path,
        model=str(folder / "adapter"),
        precision={torch.float32: "fp32", torch.float64: "fp64"}[dtype],
        query=QuerySetConfig(aggregation="none"),
        batch_size=job.BATCH,
        lr_schedule=LRScheduleConfig(lr=job.LEARNING_RATE),
        adam_beta1=0.9,
        adam_beta2=0.999,
        eps_root=0.0,
        weight_decay=0.0,
        max_grad_norm=1.0,
    )
    columns, longest = ("input_ids", "labels"), max(len(row["input_ids"]) for row in rows["train"])
    order = [place for step in rows["steps"] for place in step]
    train = [{name: rows["train"][place][name] for name in columns} | {"doc_ids": [place] * longest} for place in order]
    queries = Dataset.from_list([{name: row[name] for name in columns} for row in rows["val"]])
    stream = DataStream(Dataset.from_list(train), job.BATCH, weight_shape=(len(rows["train"]),))
    trainer, state, model = prepare_trainer(settings, 0, settings.lr_schedule.get_schedule(len(stream)))

    def work():
        options = {"inplace": True, "save_mode": settings.save_mode, "max_grad_norm": settings.max_grad_norm}
        end = trainer.train(state, stream, save_dir=f"{path}/checkpoints", **options)
        scores = compute_per_query_magic_scores(
            trainer, f"{path}/checkpoints", stream, end, model, queries, len(queries), settings, 1, 0, Padding()
        )
        return {"unrolled": -scores.T}  # a score of ours is positive where the example lowers the loss

    return work


def kronfluence(folder: Path, dtype: torch.dtype) -> Work:
    """Its `identity` strategy, dot products of gradients."""
    return _kronfluence(folder, dtype, "identity", "gradsim")


def kronfluence_ekfac(folder: Path, dtype: torch.dtype) -> Work:
    """EK-FAC of the empirical Fisher."""
    return _kronfluence(folder, dtype, "ekfac", "ekfac")


def kronfluence_ekfac_sampled(folder: Path, dtype: torch.dtype) -> Work:
    """EK-FAC of the Fisher of labels drawn from the model, as is its default.

    How to draw is left to its users: here by the random numbers that `ifcore.sample_labels` takes, so that the labels
    are the same. The loss of a draw is the sum over an example's n tokens over √n, whose square is that of a mean loss.
    """
    return _kronfluence(folder, dtype, "ekfac", "ekfac_sampled", empirical=False)


def _kronfluence(folder: Path, dtype: torch.dtype, strategy: str, name: str, empirical: bool = True) -> Work:
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from kronfluence.utils.dataset import DataLoaderKwargs

    model, rows = job.load(folder, dtype), job.read(folder)
    numbered = {part: [row | {"place": place} for place, row in enumerate(rows[part])] for part in ("train", "val")}
    tracked = [key for key, _ in model.named_modules() if key.endswith((".lora_A.default", ".lora_B.default"))]

    class Losses(Task):
        def compute_train_loss(self, batch, model, sample=False):
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            if not sample:
                return job.example_losses(logits, batch["labels"]).sum()
            labels = _drawn(logits.detach(), batch)
            counts = (labels[:, 1:] != job.IGNORE).sum(1)
            return (counts.sqrt() * job.example_losses(logits, labels)).sum()

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
        analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=_with_places))
        analyzer.fit_all_factors(
            factors_name="factors",
            dataset=numbered["train"],
            per_device_batch_size=job.BATCH,
            factor_args=FactorArguments(strategy=strategy, use_empirical_fisher=empirical),
        )
        analyzer.compute_pairwise_scores(
            scores_name="scores",
            factors_name="factors",
            query_dataset=numbered["val"],
            train_dataset=numbered["train"],
            # One batch: every further one would compute all training gradients again.
            per_device_query_batch_size=len(rows["val"]),
            per_device_train_batch_size=job.BATCH,
            score_args=ScoreArguments(damping_factor=None),
        )
        return {name: analyzer.load_pairwise_scores("scores")["all_modules"]}

    return work


def _with_places(rows: list[dict]) -> dict[str, torch.Tensor]:
    return job.pad(rows) | {"place": torch.tensor([row["place"] for row in rows])}


def _drawn(logits: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Labels [b, T] from the model's distribution where there are any, by random numbers of an example's own."""
    labels = batch["labels"].clone()
    for row, place in enumerate(batch["place"].tolist()):
        here = labels[row, 1:] != job.IGNORE
        cumulative = logits[row, :-1][here].double().softmax(1).cumsum(1)
        uniform = torch.from_numpy(np.random.default_rng((0, place)).random((len(cumulative), 1)))
        labels[row, 1:][here] = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)[:, 0]
    return labels


def dattri(folder: Path, dtype: torch.dtype) -> Work:
    """Its TracIn at one checkpoint without normalising, Grad-Dot."""
    return _dattri(folder, dtype, "gradsim", [folder / "adapter"], [1.0], 10)


def dattri_tracin(folder: Path, dtype: torch.dtype) -> Work:
    """Its TracIn over the checkpoints of the job's fine-tune, with the weights that ours has."""
    rows = job.read(folder)
    checkpoints = [Path(checkpoint) for checkpoint in rows["checkpoints"]]
    return _dattri(folder, dtype, "tracin", checkpoints, rows["weights"], 5)


def _dattri(
    folder: Path, dtype: torch.dtype, name: str, checkpoints: list[Path], weights: list[float], size: int
) -> Work:
    """vmap needs all examples at one length, and every batch of training examples computes all queries again."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file
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
        return DataLoader(list(zip(*columns, strict=True)), batch_size=size)

    def wear(model, checkpoint: Path):
        set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))
        return model

    def work():
        task = AttributionTask(loss_func=loss, model=model, checkpoints=checkpoints, checkpoints_load_func=wear)
        attributor = TracInAttributor(task, torch.tensor(weights), normalized_grad=False, layer_name=layers)
        attributor.projector_kwargs = None
        return {name: attributor.attribute(loader("train"), loader("val")).T.contiguous()}

    return work
