# SPDX-License-Identifier: Apache-2.0
"""Search a tree of answer steps (REBASE), guided by a scoring function."""

from s1_client import Client
from s1_client.evaluation import VOTES, WEIGHTS, Search, rebase


def score(question, answers):  # the steps of each answer so far -> a score for its last step
    return [min(1.0, sum(map(str.isdigit, steps[-1])) / 4) for steps in answers]


with Client() as client:
    search = Search(width=4, max_tokens=200, max_step_tokens=24, max_depth=3, delimiter="\n")
    tree = rebase(client, "What is 6 times 7, plus 2? Think in steps, a line each.", score, search)
print(tree.num_tokens, tree.budget, tree.kv_reused_blocks, tree.vote(VOTES["integer"], WEIGHTS["last"]))
