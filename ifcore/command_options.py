"""The options of the command line."""

import argparse
from pathlib import Path
from typing import Any, get_args

ATTRIBUTE = """\
example, of a fine-tune by TRL's SFTTrainer on messages, which trains on all tokens:
  python -m ifcore attribute --adapter my-adapter --train train.jsonl --val asked.jsonl --out scores/ --loss-on all
"""
VALIDATE = """\
example, of a fine-tune of 3 epochs; a second process with the same command shares the work:
  python -m ifcore validate --adapter my-adapter --train train.jsonl --val asked.jsonl --bank retrained/ \\
    --epochs 3 --learning-rate 2e-4 --train-batch-size 16 --minutes 30
"""


def parse_arguments() -> argparse.Namespace:
    """Those of `python -m ifcore attribute` or `validate`."""
    from ifcore.methods import METHODS  # takes seconds

    parser = argparse.ArgumentParser(
        prog="python -m ifcore", description="Influence of training examples on a LoRA fine-tune."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listed = "\n".join(f"  {key:14}{method.about} ({method.reference})" for key, method in METHODS.items())

    def command(name: str, about: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=f"methods:\n{listed}\n\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    about = "Which training examples a fine-tune's responses come from: a table of scores for each method."
    _add_attribute(command("attribute", about, ATTRIBUTE))
    about = "Whether scores predict what retraining on less does: fine-tune again on halves of the data, and compare."
    _add_validate(command("validate", about, VALIDATE))
    return parser.parse_args()


def _add_attribute(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    _add_inputs(command)
    out = "where to write one table per method (rows val, columns train); in CSV, an id that is a formula gets a '"
    add("--out", type=Path, required=True, metavar="FOLDER", help=out)
    add("--replace", action="store_true", help="remove what another run left in that folder")
    _add_loss(command).add_argument(
        "--skip-empty", action="store_true", help="leave out rows with nothing in their loss"
    )
    add("--damping", type=float, default=0.1, help="relative to the mean squared gradient (default 0.1)")
    _add_methods(command)
    projection = "project the gradient of each larger parameter to so many numbers, a power of 2 (default: keep all)"
    add("--projection", type=int, metavar="NUMBERS", help=projection)
    add("--format", choices=("csv", "parquet"), default="csv", help="of the tables (default csv)")
    add("--top", type=int, default=5, help="training examples that the summary names for each response (default 5)")
    add("--keep-gradients", action="store_true", help="leave them, for further methods")


def _add_validate(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    _add_inputs(command)
    bank = "where retrained adapters are kept: the same command goes on from there, others use them too"
    add("--bank", type=Path, required=True, metavar="FOLDER", help=bank)
    add("--out", type=Path, metavar="FOLDER", help="where to write the table and the picture (default the bank)")
    scores = "validate the tables that attribute wrote there, in place of --methods"
    add("--scores", type=Path, metavar="FOLDER", help=scores)
    tuned = command.add_argument_group("how it was fine-tuned (by default what ifcore.finetune left in --checkpoints)")
    tuned.add_argument("--epochs", type=int)
    tuned.add_argument("--learning-rate", type=float, help="of the first step; it falls evenly to 0")
    tuned.add_argument("--train-batch-size", type=int, metavar="ROWS", help="of a step")
    tuned.add_argument("--micro-batch", type=int, metavar="ROWS", help="of a step at a time, to save memory")
    tuned.add_argument("--train-seed", type=int, help="of order, dropout, and the adapter to start from (default 0)")
    start = "the adapter before the first step (default: that of --checkpoints, or one drawn from --train-seed)"
    tuned.add_argument("--start", type=Path, metavar="FOLDER", help=start)
    _add_loss(command)
    work = command.add_argument_group("what is retrained")
    work.add_argument("--subsets", type=int, default=16, help="halves, each with half of every label (default 16)")
    work.add_argument("--replicates", type=int, help="of them again from another seed (default half)")
    removed = "training examples on top that go together (default half of the smallest class, at most a quarter of all)"
    work.add_argument("--remove", type=int, help=removed)
    alone = "each training example by itself (default for up to 30)"
    work.add_argument("--leave-one-out", action=argparse.BooleanOptionalAction, default=None, help=alone)
    work.add_argument("--minutes", type=float, help="fit all of it into so many")
    work.add_argument("--seed", type=int, default=0, help="of the halves (default 0)")
    damping = "relative to the mean squared gradient, or auto: by further halves (default 0.1)"
    add("--damping", type=_number_or_auto, default=0.1, help=damping)
    _add_methods(command)


def _add_inputs(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--adapter", type=Path, required=True, metavar="FOLDER", help="what PEFT's save_pretrained or a trainer left")
    base = "the base model: a folder or hub:OWNER/NAME; by default the one the adapter names"
    add("--model", metavar="SOURCE", help=base)
    formats = "JSON lines or array, CSV, Parquet, folder of Dataset.save_to_disk, with messages, prompt and response, "
    formats += "prompt and completion, instruction and output, conversations, text, or input_ids; id is optional"
    add("--train", type=Path, required=True, metavar="FILE", help=f"what the adapter was fine-tuned on: {formats}")
    explained = "the responses to explain: the same; with rejected, a response against another"
    add("--val", type=Path, required=True, metavar="FILE", help=explained)


def _add_methods(command: argparse.ArgumentParser) -> None:
    from ifcore.methods import DEFAULT

    add = command.add_argument
    methods = f"of those below, separated by commas or spaces (default {','.join(DEFAULT)})"
    add("--methods", nargs="+", default=[",".join(DEFAULT)], metavar="METHOD", help=methods)
    checkpoints = "those of the fine-tune, for tracin, adam, source and unrolled"
    add("--checkpoints", type=Path, metavar="FOLDER", help=checkpoints)
    add("--iterations", type=int, default=10, help="of LiSSA (default 10)")
    add("--batch-size", type=int, default=8, help="sequences at a time (default 8)")
    add("--memory-budget", default="2GiB", help="for gradients (default 2GiB)")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the model (default float32)")


def _add_loss(command: argparse.ArgumentParser) -> Any:
    from ifcore.tokens import LossOn, Reduction, Side

    loss = command.add_argument_group("the loss that was trained")
    tokens = "the tokens that count: last answer, each answer of the assistant, or all; auto: last, or all of a text"
    loss.add_argument("--loss-on", choices=get_args(LossOn), default="auto", help=tokens)
    reduction = (
        "of a row over them: mean, sum, or the mean weighted by how many tokens they are, as in a trainer's batch"
    )
    loss.add_argument("--reduction", choices=get_args(Reduction), default="mean", help=reduction)
    loss.add_argument("--max-length", type=int, metavar="TOKENS", help="to which the trainer cut a row (TRL: 1024)")
    loss.add_argument("--truncation-side", choices=get_args(Side), default="right", help="where it cut")
    template = "auto (the tokenizer's), none (texts as they stand), or a file"
    loss.add_argument("--chat-template", default="auto", metavar="TEMPLATE", help=template)
    loss.add_argument("--date", metavar="YYYY-MM-DD", help="the day of the fine-tune, for templates that write it")
    return loss


def _number_or_auto(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; give a number or auto") from None
