"""Which branch of a merged directory has which file is decided without I/O: what is there stays, nothing comes to lie twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.formats.sites import BranchMark
from holdfast.sites.branching import doubled, known_branches, others_of, placed, why_wrong
from holdfast.sites.plan import MountPlan

KEYS = st.sets(st.text("abc/", min_size=1, max_size=4))


def mount(count: int, stem: str = "s-assets-images") -> MountPlan:
    """A directory that is merged of so many buckets; 0: not merged."""
    if not count:
        return MountPlan("images", "/w/images", (stem,))
    numbers = range(1, count + 1)
    return MountPlan(
        "images", "/w/images", tuple(f"{stem}{n}" for n in numbers), tuple(f"/w/../images{n}" for n in numbers)
    )


def mark(branch: int, of: int = 3, directory: str = "images") -> BranchMark:
    """A mark."""
    return BranchMark(1, "s", directory, branch, of, "now")


@given(there=st.lists(KEYS, min_size=1, max_size=9), keys=KEYS)
def test_placed__what_is_there_stays(there, keys):
    """Every key gets one branch: the first that has it, else one that depends on the key and the number of branches alone."""
    found = placed(keys, there)
    assert found.keys() == keys
    for key, number in found.items():
        having = [at for at, each in enumerate(there) if key in each]
        assert number == (having[0] if having else placed([key], [set() for _ in there])[key])
    after = [each | {key for key, number in found.items() if number == at} for at, each in enumerate(there)]
    assert doubled(after) == doubled(there)


def test_doubled():
    """Names that two or more branches have are found, each once."""
    assert doubled([{"a", "b"}, {"b", "c"}, {"b", "c"}]) == ["b", "c"]
    assert doubled([{"a"}]) == doubled([]) == []


def test_why_wrong():
    """A bucket is a branch if its marks say so and nothing else, or if it carries none."""
    assert why_wrong([], "images", 1) is None
    assert why_wrong([mark(1)], "images", 1) is None
    assert "branch 2 of images" in str(why_wrong([mark(2)], "images", 1))
    assert "branch 1 of docs" in str(why_wrong([mark(1, directory="docs")], "images", 1))
    assert "branch 3" in str(why_wrong([mark(1), mark(3)], "images", 1))


def test_known_branches():
    """Of how many branches a directory was merged is known by its marks, and without them by the last deployment's buckets."""
    assert known_branches([], mount(4), ()) == 0
    assert known_branches([mark(1, of=2)], mount(4), ()) == 2
    assert known_branches([], mount(4), ("s-assets-images1", "s-assets-images2")) == 2


def test_others_of():
    """Buckets that may hold files of a directory from before: the further branches, and what a deployment had when it was merged or was not."""
    assert others_of(mount(7), ()) == ("s-assets-images8", "s-assets-images9")
    assert others_of(mount(8), ("s-assets-images",)) == ("s-assets-images9", "s-assets-images")
    assert others_of(mount(0), ()) == ()
    assert others_of(mount(0), ("s-assets-images2", "other")) == ("s-assets-images2",)
