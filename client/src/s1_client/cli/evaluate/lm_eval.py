# SPDX-License-Identifier: Apache-2.0
"""``s1 lm-eval``: run lm-evaluation-harness with a served model."""

from __future__ import annotations

import os
import sys

import click

from s1_client._suggest import how_to_install
from s1_client.cli.progress import TerminalProgress
from s1_client.evaluation._recipes import FOLDER
from s1_client.runs import Refused

INCLUDE = "--include_path"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", metavar="ARGUMENTS", nargs=-1, type=click.UNPROCESSED)
def lm_eval(arguments: tuple[str, ...]) -> None:
    """Run lm-evaluation-harness (package lm-eval) with model s1-triton. ARGUMENTS are the harness's own: s1 lm-eval run
    --help lists them.

    --model_args takes url, model, deadline_s, max_retries, ca_file, cert_file, key_file, concurrency, results (a file
    that keeps replies, from which the same command continues), and every request option by its name, such as
    max_thinking_tokens and num_ignore.

    Included tasks, unless --include_path is given: s1_aime24, s1_aime25, s1_math500, s1_gpqa_diamond, and s1_arithmetic,
    which needs no download.
    """
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # about missing PyTorch, which no served model needs
    try:
        from lm_eval.__main__ import cli_evaluate

        from s1_client.evaluation import lm_eval_model  # registers the model
        from s1_client.evaluation._lm_eval_options import BadArgument
    except ImportError as error:
        raise Refused(f"{error}; s1 lm-eval needs lm-evaluation-harness: {how_to_install('lm-eval')}") from None
    lm_eval_model.S1Triton.progress = TerminalProgress()
    before, sys.argv = sys.argv, ["lm-eval", *with_recipes(arguments)]
    try:
        cli_evaluate()
    except (BadArgument, ImportError, OSError) as error:  # OSError: a data set that cannot be loaded
        raise Refused(str(error)) from None
    finally:
        sys.argv = before


def with_recipes(arguments: tuple[str, ...]) -> list[str]:
    """Return the arguments with the folder of our tasks, unless they name a folder of tasks."""
    if not arguments or any(argument.partition("=")[0] == INCLUDE for argument in arguments):
        return list(arguments)
    return [*arguments, INCLUDE, str(FOLDER)]
