"""A Dask cluster in a process of its own; its address goes into a file.

Run as ``python dask_cluster.py FILE``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        target = Path(sys.argv[1])
        temporary = target.with_suffix(".partial")
        temporary.write_text(cluster.scheduler_address)
        os.replace(temporary, target)
        time.sleep(600)
