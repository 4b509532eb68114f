"""Which sites may take a job: the rows of rules, what is said when none accepts, and which candidate is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.environment import Environment
from weftwork.core.module import Command, Module, Output
from weftwork.core.placement import Resources
from weftwork.core.siting import Asked, Bound, Part, Rule, SiteDescription, Sites, least
from weftwork.core.values import Type
from weftwork.errors import Refused

GB = 10**9


def asked(module="fit", lane="command", environment="none", user="ada", **resources):
    return Asked(module, lane, environment, user, Resources(**resources))


def sites(*rules, names=("local", "cluster", "gpu")):
    return Sites({name: SiteDescription(name, Part("local")) for name in names}, tuple(rules))


def test_all_rows_that_accept_give_candidates_in_their_order():
    found = sites(Rule(("gpu", "cluster"), lanes=("command",)), Rule(("local",)), Rule(("cluster",)))
    assert found.candidates(asked()) == ["gpu", "cluster", "local"]
    assert found.candidates(asked(lane="function")) == ["local", "cluster"]


def test_no_row_accepts_is_told_row_by_row():
    found = sites(
        Rule(("gpu",), bounds=(Bound("gpus", ">=", 1, "1"),)),
        Rule(("cluster",), modules=("fold*", "dock"), users=("ada",)),
        Rule(("local",), bounds=(Bound("memory", "<", 8 * GB, "8 GB"),)),
    )
    with pytest.raises(Refused) as raised:
        found.candidates(asked())
    assert str(raised.value).splitlines() == [
        "no site takes fit:",
        "  row 1 (gpu): it takes gpus >= 1, and the job has 0",
        "  row 2 (cluster): it takes module fold* or dock, and the job's is fit",
        "  row 3 (local): it takes memory < 8 GB, and the job says no memory",
    ]


def test_a_site_that_cannot_is_no_candidate_and_says_why():
    found = sites(Rule(("gpu", "local")))
    assert found.candidates(asked(), {"gpu": "it is drained"}.get) == ["local"]
    with pytest.raises(Refused, match=r"row 1 \(gpu, local\): gpu: it is drained\n.*local: no"):
        found.candidates(asked(), {"gpu": "it is drained", "local": "no"}.get)


def test_a_site_that_there_is_not_names_the_nearest():
    with pytest.raises(Refused, match="there is no site 'clutser'; did you mean 'cluster'"):
        sites().site("clutser")


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        (Environment(), "none"),
        (Environment(image="r-base"), "image"),
        (Environment(conda="lock"), "conda"),
        (Environment(venv="lock"), "venv"),
        (Environment(packages=("numpy",)), "packages"),
        (Environment(tools=("awk",)), "none"),
    ],
)
def test_an_environment_is_known_by_what_it_names_first(environment, kind):
    module = Module("m", (), (Output("o", Type("file")),), Command(("true",)), environment)
    assert Asked.of(module, Resources(gpus=2), "ada") == Asked("m", "command", kind, "ada", Resources(gpus=2))


@given(st.lists(st.sampled_from("abcd"), min_size=1, unique=True), st.data())
def test_the_candidate_taken_lacks_the_fewest_bytes_then_is_the_least_busy_then_the_first(names, data):
    amounts = st.integers(0, 2)
    lacking = {name: data.draw(amounts) for name in names}
    busy = {name: float(data.draw(amounts)) for name in names}
    taken, why = least(names, lacking, busy)
    assert (lacking[taken], busy[taken], names.index(taken)) == min(
        (lacking[name], busy[name], names.index(name)) for name in names
    )
    assert why
