"""Where cases are scored: processes of this machine, or a cluster of Dask or Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import joblib

from truevox.errors import SettingsError

__all__ = ["workers"]


@contextlib.contextmanager
def workers(cluster: str | None, n_jobs: int) -> Iterator[int]:
    """A context in which joblib's work goes to a cluster.

    Parameters
    ----------
    cluster : str, optional
        ``local``: Dask on this machine; ``tcp://host:8786`` (or ``tls://``, or the scheduler's JSON file): a
        Dask cluster that runs; ``ray``: a local Ray; ``ray://host:10001`` or ``ray:auto``: a Ray cluster that
        runs. None: processes of joblib.
    n_jobs : int
        Processes on this machine; -1: as many as there are.

    Yields
    ------
    int
        The number of workers for joblib: -1 is all of a cluster.

    Raises
    ------
    SettingsError
        If the package of the cluster is not installed, or the cluster does not answer.
    """
    if cluster is None:
        yield n_jobs
    elif cluster.startswith("ray"):
        with _ray(cluster, n_jobs):
            yield -1
    else:
        with _dask(cluster, n_jobs):
            yield -1


@contextlib.contextmanager
def _dask(cluster: str, n_jobs: int) -> Iterator[None]:
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        raise _not_installed("Dask", "dask", cluster) from error
    with contextlib.ExitStack() as stack:
        if cluster == "local":
            made = LocalCluster(
                n_workers=None if n_jobs < 1 else n_jobs,
                threads_per_worker=1,
                dashboard_address=None,  # type: ignore[arg-type]
            )
            client = stack.enter_context(Client(stack.enter_context(made)))
        else:
            where: dict[str, Any] = (
                {"scheduler_file": cluster} if cluster.endswith(".json") else {"address": cluster}
            )
            try:
                client = stack.enter_context(Client(**where, timeout="20s"))
            except (OSError, ValueError, TypeError) as error:
                raise SettingsError(
                    f"The cluster does not answer: {error}.", got=cluster,
                    expected="local, tcp://host:8786, a scheduler's .json, ray or ray://host:10001",
                    remedy="start the scheduler, and give the address that it printed; or --cluster local",
                ) from error  # fmt: skip
        stack.enter_context(joblib.parallel_config(backend="dask", client=client))
        yield


@contextlib.contextmanager
def _ray(cluster: str, n_jobs: int) -> Iterator[None]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.util.joblib import register_ray  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise _not_installed("Ray", "ray", cluster) from error
    address = {"ray": None, "ray:auto": "auto"}.get(cluster, cluster)
    cpus = n_jobs if address is None and n_jobs > 0 else None
    try:
        ray.init(address=address, num_cpus=cpus, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"The cluster does not answer: {error}.",
            got=cluster,
            remedy="start it by 'ray start --head', or use --cluster ray for one on this machine",
        ) from error
    try:
        register_ray()
        with joblib.parallel_config(backend="ray"):
            yield
    finally:
        ray.shutdown()


def _not_installed(name: str, extra: str, got: str) -> SettingsError:
    return SettingsError(
        f"{name} is not installed.", got=f"--cluster {got}", remedy=f"pip install 'truevox[{extra}]'"
    )
