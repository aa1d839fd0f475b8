"""Cores that a cgroup's quota leaves."""

from __future__ import annotations

import os

import pytest

from oomsight.pipeline.cores import quotas, usable_cores

ROOT = "/sys/fs/cgroup"


@pytest.mark.parametrize(
    ("cgroups", "files", "expected"),
    [
        ("0::/a/b\n", {"/a/b/cpu.max": "max 100000\n", "/a/cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"/cpu.max": "50000 100000\n"}, [0.5]),
        ("0::/a\n", {}, []),
        ("0::/kubepods/pod1\n", {"/cpu.max": "200000 100000\n"}, [2.0]),  # a container that does not see its path
        ("3:cpu,cpuacct:/d\n1:name=systemd:/d\n", {"/cpu,cpuacct/d/cpu.cfs_quota_us": "300000\n",
          "/cpu,cpuacct/d/cpu.cfs_period_us": "100000\n", "/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
          "/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, [3.0]),
        ("5:cpuset:/x\n", {"/cpuset/x/cpu.cfs_quota_us": "1", "/cpuset/x/cpu.cfs_period_us": "1"}, []),
        ("0::/a\n", {"/a/cpu.max": "nonsense\n"}, []),
        ("damaged", {}, []),
    ],
)  # fmt: skip
def test_quotas(cgroups, files, expected):
    def read(path):
        try:
            return files[path.removeprefix(ROOT)]
        except KeyError:
            raise FileNotFoundError(path) from None

    assert list(quotas(cgroups, read)) == expected


def test_usable_cores_at_least_one_and_no_more_than_affinity():
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
