# SPDX-License-Identifier: Apache-2.0
"""Evaluate a served model: tasks, budget-forcing protocols, the paper's metrics, votes and tree searches.

``s1 eval`` and ``s1 stats`` are built on this package, which needs no dependency beyond the client library's.
"""

from s1_client.evaluation._curves import Curve
from s1_client.evaluation._intervals import Comparison, Estimate, compare, interval
from s1_client.evaluation._metrics import Run, control, performance, scaling
from s1_client.evaluation._parallel import best_of, majority, pass_at
from s1_client.evaluation._protocol import Protocol, Setting
from s1_client.evaluation._report import Report, Row, report, report_of
from s1_client.evaluation._stats import BadSample, Stats, statistics, statistics_by_setting
from s1_client.evaluation._task_loader import load_task
from s1_client.evaluation._tasks import BadTask, Question, Task
from s1_client.evaluation.grading.graders import GRADERS, VOTES, Grader, Vote
from s1_client.evaluation.grading.judge import Judge, JudgeFailed, Ungraded
from s1_client.evaluation.grading.math_verifier import MissingPackage
from s1_client.evaluation.search.rebase import Search, rebase
from s1_client.evaluation.search.reward import Scorer, ServedScorer
from s1_client.evaluation.search.tree import WEIGHTS, Node, Tree

__all__ = [
    "GRADERS",
    "VOTES",
    "WEIGHTS",
    "BadSample",
    "BadTask",
    "Comparison",
    "Curve",
    "Estimate",
    "Grader",
    "Judge",
    "JudgeFailed",
    "MissingPackage",
    "Node",
    "Protocol",
    "Question",
    "Report",
    "Row",
    "Run",
    "Scorer",
    "Search",
    "ServedScorer",
    "Setting",
    "Stats",
    "Task",
    "Tree",
    "Ungraded",
    "Vote",
    "best_of",
    "compare",
    "control",
    "interval",
    "load_task",
    "majority",
    "pass_at",
    "performance",
    "rebase",
    "report",
    "report_of",
    "scaling",
    "statistics",
    "statistics_by_setting",
]
