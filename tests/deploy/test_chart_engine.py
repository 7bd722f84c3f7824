# SPDX-License-Identifier: Apache-2.0
"""The build of an engine by build/deploy/chart: its Job, its folder on the volume, and the server that reads it."""

import json
import re

import pytest

from budgetforce.building.__main__ import main as building
from deploy.charts import one, pod_of

pytestmark = pytest.mark.xdist_group("chart")


def job_of(objects):
    (job,) = [item for item in objects if item["kind"] == "Job"]
    return job


def mount_of(pod):
    (mount,) = [mount for container in pod["containers"] for mount in container["volumeMounts"] if mount["name"] == "engines"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "engines"]
    return volume["persistentVolumeClaim"]["claimName"], mount["mountPath"], mount["subPath"], mount.get("readOnly", False)


@pytest.mark.parametrize("use", ["build", "build for production"])
def test_the_build_takes_its_command(uses, use, capsys):
    command = job_of(uses[use])["spec"]["template"]["spec"]["containers"][0]["args"]
    assert command[:3] == ["python3", "-m", "budgetforce.building"]
    assert building([*command[3:], "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "# verify: /data/engine" in printed
    assert ("owner/name" in printed) == (use == "build")


@pytest.mark.parametrize("files", [[], ["production.yaml"]])
def test_the_server_reads_the_folder_that_the_build_writes(render, files):
    """Same values, same folder of the same claim; the server may only read it, and both have the same GPUs."""
    server, build = pod_of(render(files)), job_of(render(files, {"mode": "build"}))["spec"]["template"]["spec"]
    claim, place, folder, _ = mount_of(build)
    assert (claim, place) == ("s1-engines", "/data")
    assert re.fullmatch(r"engines/s1-32b-bf16-tp2-[0-9a-f]{8}", folder)
    assert mount_of(server) == (claim, place, folder, True)
    limits = [pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for pod in (server, build)]
    assert limits == [2, 2]
    assert server.get("affinity") == build.get("affinity")


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"preset": "s1.1-32b"}},
        {"engine": {"variant": "fp8"}},
        {"engine": {"maxBatchSize": 64}},
        {"engine": {"revision": "abcdef0"}},
        {"engine": {"release": "26.08"}},
        {"engine": {"tensorParallel": 4}, "gpus": 4},
        {"gpuProduct": "NVIDIA-H200"},
    ],
    ids=str,
)
def test_another_engine_has_another_folder_and_job(render, change):
    """Old pods go on with the old engine during a rollout, and a rollback finds it."""
    (first, build), (other, other_build) = (
        (render(values=values), job_of(render(values={**values, "mode": "build"}))) for values in ({}, change)
    )
    assert mount_of(pod_of(first)) != mount_of(pod_of(other))
    assert build["metadata"]["name"] != other_build["metadata"]["name"]


def test_what_does_not_change_the_engine_keeps_its_folder(render):
    values = {"replicas": 3, "image": {"tag": "26.07-2"}, "server": {"maxReplies": 9}}
    assert mount_of(pod_of(render())) == mount_of(pod_of(render(values=values)))
    assert mount_of(pod_of(render(values={"engine": {"id": "mine"}})))[2] == "engines/mine"


def test_a_job_whose_template_changes_is_another_job(render):
    """Kubernetes refuses to change the template of a Job."""
    changes = ({}, {"image": {"tag": "26.07-2"}}, {"shmMiB": 4096}, {"nodeSelector": {"pool": "gpu"}}, {"priorityClassName": "low"})
    jobs = [job_of(render(values={**change, "mode": "build"})) for change in changes]
    assert len({job["metadata"]["name"] for job in jobs}) == len(jobs) == len({json.dumps(job["spec"]["template"]) for job in jobs})


def test_helm_never_removes_the_engines(uses):
    claim = one(uses["build"], "PersistentVolumeClaim", "-engines")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
