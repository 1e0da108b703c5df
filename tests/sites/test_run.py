"""``asset site run``: jobs when they are due, people told, health and numbers over HTTP, and an end in good order."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from holdfast.errors import UnreachableError
from holdfast.model.result import NoProgress
from holdfast.sites.buckets import buckets_of_media
from holdfast.sites.failover import Choice
from holdfast.sites.fallback import why_copies
from holdfast.sites.health import health, metrics
from holdfast.sites.jobs import Context, Job, Outcome, jobs_of
from holdfast.sites.loading import load_site
from holdfast.sites.notices import FAILED, OK, Observation
from holdfast.sites.places import keep, look, shown
from holdfast.sites.running import Runner
from holdfast.sites.showing import chosen
from holdfast.sites.stores import Stores
from tests.services.base import wait_until

BUCKET = "www-example-com-assets-images"
EPOCH = datetime(2026, 3, 5, 10, 30, tzinfo=UTC)


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = EPOCH

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def copied(site):
    """A site whose images live in a bucket, with a place for copies, and a program that keeps what it is told."""
    tell = site.folder / "tell"
    tell.write_text(f"#!/bin/sh\ncat >> {site.folder}/told\necho >> {site.folder}/told\n")
    tell.chmod(0o700)
    site.write(
        "persist_assets_to_cloud = 1\nlease = '10s'\n",
        after=(
            f'[[copies]]\nurl = "{(site.folder / "elsewhere").as_uri()}"\n[[notify]]\nrun = ["{tell}"]\n'
            '[run]\nlisten = "127.0.0.1:0"\nreplicate = "5s"\n'
        ),
    )
    (site.folder / "elsewhere").mkdir()
    shutil.copytree(site.webroot / "images", site.folder / BUCKET)
    return site


def told(site) -> list[dict]:
    path = site.folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def plan_of(site):
    loaded = load_site(str(site.folder / "site.toml"), None)
    return loaded.plan, loaded.settings


def runner_of(site, jobs: list[Job], clock=None) -> Runner:
    plan, settings = plan_of(site)
    return Runner(
        plan, settings, site.folder / "state", say=print, jobs={job.name: job for job in jobs}, clock=clock or Clock()
    )


def settled(runner: Runner) -> None:
    for thread in list(runner._threads.values()):
        thread.join(20)


def test_jobs__of_a_site(copied, site):
    """A site has a job for each period, its copies, its mounts and its stores; one without buckets has its backups."""
    names = [f"backup {period}" for period in ("hourly", "daily", "weekly", "monthly", "bimonthly")]
    assert list(jobs_of(plan_of(copied)[0])) == [*names, "replicate", "mounts", "status", "stores", "failover"]
    site.write(after='[run]\nbackups = ["daily"]\n')
    assert list(jobs_of(plan_of(site)[0])) == ["backup daily"]


def test_job__never_twice_at_once(copied):
    """A job that takes longer than its period is not started again before it ends."""
    leave, count = threading.Event(), []

    def work(context) -> Outcome:
        count.append(1)
        leave.wait(20)
        return Outcome((Observation("job", "slow", OK),))

    clock = Clock()
    runner = runner_of(copied, [Job("slow", 5.0, work, ("job", "slow"))], clock)
    assert runner.turn() == ["slow"]
    clock.now += timedelta(hours=1)
    assert runner.turn() == []
    leave.set()
    settled(runner)
    assert runner.turn() == ["slow"]
    settled(runner)
    assert len(count) == 2


def test_job__catches_up_once_after_a_reboot(copied):
    """What was missed while the machine was off is done once, by a new process too."""
    clock, done = Clock(), []

    def work(context) -> Outcome:
        done.append(clock.now)
        return Outcome((Observation("backup", "hourly", OK),))

    jobs = [Job("hourly", "hourly", work, ("backup", "hourly"))]
    first = runner_of(copied, jobs, clock)
    assert first.turn() == ["hourly"]
    settled(first)
    clock.now += timedelta(days=3)
    second = runner_of(copied, jobs, clock)
    assert second.turn() == ["hourly"]
    settled(second)
    assert second.turn() == []
    assert len(done) == 2


def test_job__that_raises_ends_no_other(copied):
    """A job that fails, for whatever reason, is told of, and the loop and the other jobs go on."""

    def fails(context) -> Outcome:
        raise UnreachableError("no answer", hint="wait")

    def breaks(context) -> Outcome:
        raise ZeroDivisionError("a fault of ours")

    jobs = [Job("a", 5.0, fails, ("replica", "all")), Job("b", 5.0, breaks, ("backup", "b"))]
    runner = runner_of(copied, jobs)
    assert set(runner.turn()) == {"a", "b"}
    settled(runner)
    assert runner.notices.tell() == 0
    messages = {each["kind"]: each["message"] for each in told(copied)}
    assert messages == {"replica": "no answer (wait)", "backup": "ZeroDivisionError: a fault of ours"}
    state = health(runner)
    assert (state["state"], len(state["problems"])) == ("degraded", 2)


def test_mount__that_failed_makes_the_server_unfit(copied):
    """A failed mount makes /healthz answer that this server is unfit; a failed backup does not."""
    plan, settings = plan_of(copied)
    runner = Runner(plan, settings, copied.folder / "state", say=print, jobs={"mounts": jobs_of(plan)["mounts"]})
    runner.turn()
    settled(runner)
    assert health(runner)["state"] == "failed"
    assert f"mount {copied.webroot}/images" in health(runner)["problems"]


def test_metrics__are_prometheus_text(copied):
    """Every line of the metrics is a comment or a sample, each family is announced once, and labels are escaped."""
    name = 'a"b\\c\nd'
    job = Job(
        "x",
        5.0,
        lambda _: Outcome((Observation("backup", name, FAILED),), {("lag", (("n", name),)): 1.5}),
        ("backup", name),
    )
    runner = runner_of(copied, [job])
    runner.turn()
    settled(runner)
    text = metrics(runner)
    sample = re.compile(r'holdfast_[a-z_]+\{([a-z]+="([^"\\\n]|\\["\\n])*",?)*\} [0-9.e+-]+')
    lines = text.splitlines()
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines), text
    families = [line for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert 'holdfast_site_ok{kind="backup",name="a\\"b\\\\c\\nd"} 0' in lines


class Run:
    """The program, running."""

    def __init__(self, site) -> None:
        self.site = site
        command = [sys.executable, "-m", "holdfast.cli", "site", "run", "--json"]
        with (site.folder / "said").open("a") as said:
            self.process = subprocess.Popen(
                command, cwd=site.folder, env=site.environ(), text=True, stdout=subprocess.PIPE, stderr=said
            )
        assert self.process.stdout is not None
        self.started = json.loads(self.process.stdout.readline())

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.started['listen']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def until(self, ready, what: str) -> None:
        """Wait for it; what the program said, and how it is, where that is in vain."""
        wait_until(ready, 120, what, lambda: f"{(self.site.folder / 'said').read_text()}\n{self.get('/healthz')[1]}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def run(copied):
    run = Run(copied)
    yield run
    if run.process.poll() is None:
        run.process.kill()
        run.process.communicate()


def test_run__does_it_all(copied, run):
    """It copies, tells of what fails and is well again, answers over HTTP, refuses a second one, and ends well when it is told to."""
    copy = copied.folder / "elsewhere" / BUCKET / "logo.png"
    run.until(copy.exists, "the first copy")
    run.until(lambda: 'holdfast_site_ok{kind="replica",name="all"} 1' in run.get("/metrics")[1], "the metrics")
    status, text = run.get("/healthz")
    assert status == 503
    assert json.loads(text)["problems"][f"mount {copied.webroot}/images"] == "it is not mounted on this server"
    assert run.get("/other")[0] == 404
    assert copied.fails(1, "run")["kind"] == "busy"
    shutil.move(copied.folder / "elsewhere", copied.folder / "away")
    run.until(lambda: any(each["kind"] == "replica" and each["level"] == "ERROR" for each in told(copied)), "a notice")
    shutil.move(copied.folder / "away", copied.folder / "elsewhere")
    run.until(lambda: any(each["kind"] == "replica" and each["level"] == "INFO" for each in told(copied)), "the other")
    changes = [(each["name"], each["state"]) for each in told(copied) if each["kind"] == "replica"]
    assert len(changes) == len(set(changes))
    assert run.end() == 0


def test_run__killed_and_started_again(copied, run):
    """Killed, it leaves nothing that keeps the next one from starting, and a notice that was told is not told again."""
    run.until(lambda: any(each["kind"] == "mount" for each in told(copied)), "a notice")
    time.sleep(1)
    assert run.end(signal.SIGKILL) == -9
    before = [each for each in told(copied) if each["kind"] == "mount"]
    again = Run(copied)
    try:
        again.until(lambda: again.get("/healthz")[0] == 503, "it to be up")
        time.sleep(1)
        assert again.end() == 0
    finally:
        if again.process.poll() is None:
            again.process.kill()
            again.process.communicate()
    assert [each for each in told(copied) if each["kind"] == "mount"] == before


def test_run__one_job(copied):
    """One job is done at once and told of, as timers do it; one that does not exist is refused by name."""
    assert copied.site("run", "--job", "replicate")["state"] == "ok"
    assert (copied.folder / "elsewhere" / BUCKET / "logo.png").exists()
    shutil.rmtree(copied.folder / "elsewhere")
    for _ in range(2):
        ended = copied("site", "run", "--job", "replicate", "--json")
        assert (ended.code, ended.json["state"]) == (1, "failed")
    assert [each["level"] for each in told(copied) if each["name"] == "all"] == ["ERROR"]
    assert "replicate" in copied.fails(2, "run", "--job", "replicat")["hint"]
    listed = copied.site("run", "--list")
    assert [each["job"] for each in listed][-5:] == ["replicate", "mounts", "status", "stores", "failover"]


def test_run__jobs_that_end_at_one_moment(copied):
    """Of processes that tell at one moment, as timers start them, each tells what the others do not: every notice is told once."""
    tell = copied.folder / "tell"
    program = tell.read_text()
    tell.write_text("#!/bin/sh\nexit 1\n")
    assert copied("site", "run", "--job", "mounts").code == 0
    tell.write_text(program + "sleep 1\n")
    shutil.rmtree(copied.folder / BUCKET)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda job: copied("site", "run", "--job", job), ("mounts", "stores", "replicate")))
    found = [(each["kind"], each["name"], each["state"]) for each in told(copied)]
    assert len(found) >= 3
    assert sorted(set(found)) == sorted(found)


def test_run__backups(site):
    """Backups are made when they are due, and a store that is gone is told of as a failed backup."""
    site.write(after='[run]\nbackups = ["hourly"]\nlisten = ""\n')
    done = site.site("run", "--job", "backup hourly")
    assert (done["state"], done["message"].split()[0]) == ("ok", "created")
    shutil.rmtree(site.folder / "one")
    assert site("site", "run", "--job", "backup hourly").code == 1


def test_run__syncs(site):
    """A webroot that is to be kept like the others' is synced, and what it says is told as the sync's state."""
    site.write("sync_webroots = 1\n", after='[run]\nbackups = []\nlisten = ""\n')
    assert [each["job"] for each in site.site("run", "--list")] == ["sync"]
    assert site.site("run", "--job", "sync")["state"] == "ok"
    shutil.rmtree(site.folder / "one")
    assert site("site", "run", "--job", "sync").code == 1


def test_port__that_is_taken(copied):
    """A port that is taken is told, with the setting that names another."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = copied.folder / "site.toml"
        path.write_text(path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
        error = copied.fails(1, "run")
    assert "cannot listen" in error["message"]
    assert "listen" in error["hint"]


def test_place__of_a_mount(copied):
    """A bucket that fails is shown from its copy, read-only, once it failed for a while, and again from itself when it is well."""
    plan, _ = plan_of(copied)
    folder = copied.folder / "state"
    folder.mkdir()
    url = plan.copies[0].store.url
    whole = {(BUCKET, url): 1.0}
    assert shown(plan, BUCKET, folder).store.url == (copied.folder / BUCKET).as_uri()
    look(plan, folder, whole, 100.0)
    shutil.move(copied.folder / BUCKET, copied.folder / "away")
    seen = look(plan, folder, whole, 110.0)
    assert {(each.kind, each.state) for each in seen} == {("store", OK), ("store", FAILED), ("bucket", OK)}
    assert not shown(plan, BUCKET, folder).read_only
    seen = look(plan, folder, whole, 170.0)
    assert ("bucket", FAILED) in {(each.kind, each.state) for each in seen}
    place = shown(plan, BUCKET, folder)
    assert (place.store.url, place.read_only) == (f"{url}/{BUCKET}", True)
    shutil.move(copied.folder / "away", copied.folder / BUCKET)
    look(plan, folder, whole, 200.0)
    assert shown(plan, BUCKET, folder).read_only
    look(plan, folder, whole, 800.0)
    assert not shown(plan, BUCKET, folder).read_only


def test_place__of_a_merged_directory(site):
    """Where the bucket of one branch of a merged directory fails, its copy is to be shown, and all branches are shown from that store."""
    site.write(
        'persist_assets_to_cloud = 1\ndirectories_to_mount = "merge=images2"\n',
        after=f'[[copies]]\nurl = "{(site.folder / "elsewhere").as_uri()}"\n',
    )
    (site.folder / "elsewhere").mkdir()
    for number in (1, 2):
        (site.folder / f"{BUCKET}{number}").mkdir()
        (site.folder / f"{BUCKET}{number}/{number}.jpg").write_bytes(b"picture")
    assert {each["state"] for each in site.site("replicate")} == {"whole"}
    plan, settings = plan_of(site)
    folder = site.folder / "state"
    shutil.move(site.folder / f"{BUCKET}2", site.folder / "away")
    now = time.time()
    for later in (0.0, 100.0):
        at = now + later
        outcome = jobs_of(plan)["stores"].work(Context(plan, settings, folder, lambda: None, lambda at=at: at))
    assert ("store", FAILED) in {(each.kind, each.state) for each in outcome.observations}
    told = {each.name: each.state for each in outcome.observations if each.kind == "bucket"}
    assert told == {f"{BUCKET}1": OK, f"{BUCKET}2": FAILED}
    assert [shown(plan, f"{BUCKET}{number}", folder).place for number in (1, 2)] == [0, 1]
    parts = [SimpleNamespace(bucket=f"{BUCKET}{number}") for number in (1, 2)]
    assert chosen(plan, SimpleNamespace(parts=parts)) == 1


def test_place__asks_no_store(copied):
    """What a mount is to show is told without asking any store, whatever has become of the file that says it."""
    plan, _ = plan_of(copied)
    folder = copied.folder / "state"
    folder.mkdir()
    shutil.rmtree(copied.folder / BUCKET)
    for text in ("", "{", "[]", '{"x": 1}'):
        (folder / "places.json").write_text(text)
        assert shown(plan, BUCKET, folder).why == "nothing else is known"
    assert os.listdir(folder) == ["places.json"]
    assert isinstance(Path(folder), Path)


def test_place__copy_that_is_lost_for_good(copied):
    """What was written to a two-way copy that is gone keeps the bucket from being mounted, until that is accepted."""
    text = copied.folder.joinpath("site.toml").read_text()
    copied.folder.joinpath("site.toml").write_text(text.replace("[[copies]]", "[[copies]]\ntwo_way = true"))
    assert {each["state"] for each in copied.site("replicate")} == {"whole"}
    plan, _ = plan_of(copied)
    keep(plan, BUCKET, Path(plan.state), Choice(1, read_only=False, why="the bucket fails"), time.time() + 60)
    shutil.rmtree(copied.folder / "elsewhere")
    bucket = (copied.folder / BUCKET).as_uri()
    place = SimpleNamespace(bucket=BUCKET, source=bucket, record=None)
    place.parts = (place,)
    stores = Stores(plan.stores, progress=NoProgress())
    assert "lacks what was written to its copy" in why_copies(plan, stores, [place])
    assert why_copies(plan, stores, [place], accept=True) is None


def test_place__kept_while_the_stores_are_asked(copied, monkeypatch):
    """What an attach says it mounted while a look still asks the stores is not forgotten by that."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    folder = copied.folder / "state"

    class Copy(BaseHTTPRequestHandler):
        def do_GET(self):
            keep(plan, BUCKET, folder, Choice(1, read_only=True, why="the bucket fails"), 101.0)
            body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Copy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        copied.write(
            "persist_assets_to_cloud = 1\n", after=f'[[copies]]\nurl = "s3://elsewhere"\nendpoint = "{endpoint}"\n'
        )
        plan, _ = plan_of(copied)
        look(plan, folder, {}, 100.0)
        server.shutdown()
    place = shown(plan, BUCKET, folder)
    assert (place.place, place.since, place.store.url) == (1, 101.0, f"s3://elsewhere/{BUCKET}")


def test_place__kept_by_several(copied):
    """What several attaches say at one moment is all kept."""
    directories = [f"images/{number}" for number in range(8)]
    path = copied.folder / "site.toml"
    for directory in directories:
        (copied.webroot / directory).mkdir()
    path.write_text(f'directories_to_mount = "{":".join(directories)}"\n{path.read_text()}')
    plan, _ = plan_of(copied)
    folder, choice = copied.folder / "state", Choice(1, read_only=True, why="the bucket fails")
    buckets = buckets_of_media(plan)
    assert len(buckets) == 8
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda bucket: keep(plan, bucket, folder, choice, 1.0), buckets))
    assert {shown(plan, bucket, folder).place for bucket in buckets} == {1}
