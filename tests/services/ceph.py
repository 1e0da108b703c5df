"""Ceph's object gateway: a real S3 server, one monitor, one store, one gateway, without the manager.

The settings below shorten the waiting that a cluster of many machines would want (Debian's 16.2 starts in 13 s without). Known oddities: ``If-Match`` is understood only with the ETag *unquoted*;
of several writers that replace one version at once, losers get 412 or 500; ``CompleteMultipartUpload`` and ``DELETE``
ignore conditions.
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.services.base import HOST, Service, answers, free_port, make_bucket, processes, program, s3_env, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.base import Processes

__all__ = ["start"]

_ACCESS, _SECRET = "AKHOLDFAST", "SKHOLDFAST0123456789"
#: Another account, as another region has it; with what such keys really hold.
_SECOND_ACCESS, _SECOND_SECRET = "AKSECOND", "SK/second+key=with/all+of=them"
_BUCKET: Final = "holdfast"

_CONFIG: Final = """\
[global]
fsid = {fsid}
mon_host = v2:{host}:{mon_port}
public_addr = {host}
cluster_addr = {host}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = {d}/run
admin_socket = {d}/run/$name.asok
log_file = {d}/log/$name.log
crash_dir = {d}/log
ms_bind_msgr1 = false
ms_bind_port_min = {osd_port}
ms_bind_port_max = {osd_port_last}
# One machine, one copy.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
# Propose at once: nobody else will join in.
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_tick_interval = 1
# Small memory.
osd_objectstore = {objectstore}
memstore_device_bytes = 4294967296
bluestore_block_size = 21474836480
bluestore_fsck_on_mount = false
osd_memory_target = 939524096
osd_op_num_shards = 2
rocksdb_cache_size = 16777216
[mon.a]
mon_data = {d}/mon
[osd.0]
osd_data = {d}/osd
[client.rgw]
# Without tcp_nodelay every small GET waits 44 ms.
rgw_frontends = beast endpoint={host}:{rgw_port} tcp_nodelay=1
rgw_data = {d}/rgw
rgw_override_bucket_index_max_shards = 1
rgw_crypt_require_ssl = false
rgw_thread_pool_size = 64
# What was deleted or replaced is freed after a minute, not after two hours.
rgw_gc_obj_min_wait = 60
rgw_gc_processor_period = 30
"""


@contextmanager
def start(directory: Path) -> Iterator[Service]:
    """Run a cluster in ``directory``, with the objects in memory, which starts in a second.

    ``HOLDFAST_TEST_CEPH_STORE=bluestore`` keeps them on disk: that starts in five, and is what a benchmark should use,
    because the memory store takes as much memory as is written.
    """
    programs = {
        name: program(name) for name in ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
    }
    port = free_port()
    # A clean end takes seconds and saves nothing that anyone will read.
    with processes("ceph", directory, patience=0.2) as group:
        _configure(group.directory, port)
        config: list[str | Path] = ["-c", group.directory / "ceph.conf"]
        _start_cluster(group, programs, config)
        admin = [programs["radosgw-admin"], *config, "-n", "client.admin", "user", "create", "--uid=test"]
        # radosgw talks cephx by default and would wait for ever without the last four arguments.
        no_auth = ["--auth_client_required", "none", "--ms_mon_client_mode", "crc secure"]
        group.spawn([programs["radosgw"], *config, "-f", "-n", "client.rgw", *no_auth])
        group.wait(lambda: answers(f"http://{HOST}:{port}/"), 120)
        group.run([*admin, "--display-name=test", f"--access-key={_ACCESS}", f"--secret-key={_SECRET}"])
        env = s3_env(port, _ACCESS, _SECRET)
        make_bucket(env, _BUCKET)
        second = [*admin[:-1], "--uid=second", "--display-name=second"]
        group.run([*second, f"--access-key={_SECOND_ACCESS}", f"--secret-key={_SECOND_SECRET}"])
        keys = [*map(str, admin[:-3]), "--uid=test", "key"]
        yield Service("ceph", f"s3://{_BUCKET}", env, group.pids, s3_env(port, _SECOND_ACCESS, _SECOND_SECRET), keys)


def _configure(directory: Path, rgw_port: int) -> None:
    for name in ("mon", "osd", "run", "log", "rgw"):
        (directory / name).mkdir()
    osd_port = free_port(20)
    text = _CONFIG.format(
        d=directory,
        host=HOST,
        fsid=uuid.uuid4(),
        mon_port=free_port(),
        osd_port=osd_port,
        osd_port_last=osd_port + 19,
        rgw_port=rgw_port,
        objectstore=os.environ.get("HOLDFAST_TEST_CEPH_STORE", "memstore"),
    )
    (directory / "ceph.conf").write_text(text)


def _start_cluster(group: Processes, programs: dict[str, Path], config: list[str | Path]) -> None:
    """The monitor, then the one store, up to the moment when it is part of the cluster."""
    directory = group.directory
    lines = (directory / "ceph.conf").read_text().splitlines()
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    address = f"[{settings['mon_host']}]"
    monmap = directory / "monmap"
    group.run([programs["monmaptool"], "--create", "--addv", "a", address, "--fsid", settings["fsid"], monmap])
    group.run([programs["ceph-mon"], *config, "-i", "a", "--mkfs", "--monmap", monmap])
    group.spawn([programs["ceph-mon"], *config, "-f", "-i", "a"])
    ceph: list[str | Path] = [programs["ceph"], *config, "--connect-timeout", "30"]
    osd = str(uuid.uuid4())
    group.run([*ceph, "osd", "new", osd])
    group.run([programs["ceph-osd"], *config, "-i", "0", "--mkfs", "--osd-uuid", osd])
    group.spawn([programs["ceph-osd"], *config, "-f", "-i", "0"])
    wait_until(lambda: "1 up" in group.run([*ceph, "osd", "stat"]), 60, "the store to join the cluster")
