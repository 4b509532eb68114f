"""``sites.yaml``: what it means, how settings are inherited and files laid over each other, what is said of wrong ones."""

import json

import pytest
from jsonschema import Draft202012Validator

from weftwork.core.placement import Resources
from weftwork.core.siting import Asked, Bound, Part, Rule, SiteDescription, Sites
from weftwork.errors import Invalid, Refused
from weftwork.formats.adapters import Adapter, Adapters, Only
from weftwork.formats.document import parse
from weftwork.formats.kinds import SOME_TEXT, Key, Listed, Section, whole
from weftwork.formats.schema import schema_of
from weftwork.formats.sites_file import read_sites, sites_of
from weftwork.formats.sites_keys import sites_section


def adapter(choice, name, only=None, beside=None, **options):
    section = Section(
        f"{choice} {name}", f"The {choice} {name}.", {key: Key(kind, key) for key, kind in options.items()}
    )
    return Adapter(choice, name, section, only or {}, beside or {})


POD = Only(frozenset({"none"}), "a pod's image is its container")
FAR = Only(frozenset({"http", "objects"}), "its nodes share no file system with this machine")
ADAPTERS = Adapters(
    [
        adapter("scheduler", "local"),
        adapter(
            "scheduler", "slurm", partition=SOME_TEXT, account=SOME_TEXT, directives=Listed(SOME_TEXT), array=whole(1)
        ),
        adapter("scheduler", "kubernetes", {"runtime": POD, "staging": FAR}, {"staging": "http"}, namespace=SOME_TEXT),
        adapter("runtime", "none"),
        adapter("runtime", "docker"),
        adapter("runtime", "apptainer", path=SOME_TEXT),
        adapter("staging", "shared"),
        adapter("staging", "http"),
        adapter("staging", "objects", bucket=SOME_TEXT),
        adapter("shell", "here"),
        adapter("shell", "ssh", host=SOME_TEXT),
    ]
)
LOCAL = SiteDescription("local", Part("local"))
BUILTIN = Sites({"local": LOCAL}, (Rule(("local",)),))


def load(*texts, names=("sites.yaml", "other.yaml")):
    return sites_of([parse(text, name) for text, name in zip(texts, names, strict=False)], ADAPTERS, BUILTIN)


CLUSTER = """
defaults: {resources: {memory: 2 GB}}
sites:
  cluster:
    scheduler: {slurm: {partition: short, account: p1}}
    runtime: apptainer
    shell: {ssh: {host: login.example.org}}
  long:
    like: cluster
    scheduler: {slurm: {partition: long}}
    resources: {time: 2d}
"""


def test_a_site_is_read_with_its_parts_and_their_options():
    assert load(CLUSTER).site("cluster") == SiteDescription(
        "cluster",
        Part("slurm", {"partition": "short", "account": "p1"}),
        Part("apptainer"),
        Part("shared"),
        Part("ssh", {"host": "login.example.org"}),
        Resources(memory=2 * 10**9),
    )


def test_a_site_that_is_like_another_says_only_what_differs():
    long = load(CLUSTER).site("long")
    assert long.scheduler == Part("slurm", {"partition": "long", "account": "p1"})
    assert long.runtime.name == "apptainer"
    assert long.resources == Resources(memory=2 * 10**9, time=172800.0)


def test_another_adapter_takes_no_options_from_the_one_before():
    text = CLUSTER + "  pods: {like: cluster, scheduler: kubernetes, runtime: none, staging: http}\n"
    assert load(text).site("pods").scheduler == Part("kubernetes")


def test_an_adapter_says_what_goes_beside_it_where_nothing_is_said():
    assert load("sites: {pods: {scheduler: kubernetes}}").site("pods").staging == Part("http")


def test_sites_without_a_file_are_there_and_may_be_likened_to():
    found = load("sites: {box: {like: local, runtime: docker}}")
    assert found.site("local") == LOCAL
    assert found.site("box") == SiteDescription("box", Part("local"), Part("docker"))


def test_later_files_win_site_by_site_and_may_be_like_sites_of_earlier_ones():
    found = load(
        "sites: {a: {scheduler: local, description: one}, b: {scheduler: local}}\nrules: [{at: a}]\n",
        "sites: {a: {scheduler: local, description: two}, c: {like: b, description: three}}\n",
    )
    assert (found.site("a").description, found.site("c").description) == ("two", "three")
    assert found.rules == (Rule(("a",)),)
    assert load("rules: [{at: local}]", "sites: {a: {scheduler: local}}\nrules: [{at: a}]").rules == (Rule(("a",)),)


def test_a_default_is_the_last_rule():
    found = load("sites: {a: {scheduler: local}}\nrules: [{at: local, lane: command}]\ndefault: a\n")
    assert found.rules == (Rule(("local",), ("command",)), Rule(("a",)))
    assert load("sites: {a: {scheduler: local}}").rules == BUILTIN.rules


def test_rules_are_read_with_their_comparisons():
    found = load(
        "sites: {g: {scheduler: local}}\n"
        'rules:\n  - {at: g, gpus: ">= 1", memory: "< 64 GB", time: "<= 4h", cpus: 8}\n'
        "  - {at: [local, g], lane: command, environment: [image, conda], module: fit*, user: [ada, bob]}\n"
    )
    assert found.rules == (
        Rule(
            ("g",),
            bounds=(
                Bound("cpus", "==", 8, "8"),
                Bound("memory", "<", 64 * 10**9, "64 GB"),
                Bound("gpus", ">=", 1, "1"),
                Bound("time", "<=", 14400.0, "4h"),
            ),
        ),
        Rule(("local", "g"), ("command",), ("image", "conda"), ("fit*",), ("ada", "bob")),
    )


def test_the_six_backends_of_a_job_service_are_six_rows_of_one_file():
    """Bash, Docker and generic jobs, each here or through Slurm: the first that accepts a job took it."""
    found = load(
        """
sites:
  shell: {scheduler: local}
  shell-docker: {like: shell, runtime: docker}
  shell-generic: {like: shell}
  slurm: {scheduler: slurm}
  slurm-singularity: {like: slurm, runtime: apptainer}
  slurm-generic: {like: slurm}
rules:
  - {at: shell, lane: command, environment: none, user: "local-*"}
  - {at: shell-docker, lane: command, environment: image, user: "local-*"}
  - {at: shell-generic, lane: function, user: "local-*"}
  - {at: slurm, lane: command, environment: none}
  - {at: slurm-singularity, lane: command, environment: image}
  - {at: slurm-generic, lane: function, environment: [none, packages, conda]}
"""
    )

    def taken(lane, environment, user):
        return found.candidates(Asked("m", lane, environment, user, Resources()))

    assert taken("command", "none", "local-ada") == ["shell", "slurm"]
    assert taken("command", "image", "local-ada") == ["shell-docker", "slurm-singularity"]
    assert taken("function", "conda", "local-ada") == ["shell-generic", "slurm-generic"]
    assert taken("command", "none", "bob") == ["slurm"]
    assert taken("command", "image", "bob") == ["slurm-singularity"]
    assert taken("function", "none", "bob") == ["slurm-generic"]
    with pytest.raises(Refused, match=r"row 6 \(slurm-generic\): it takes environment none or packages or conda"):
        taken("function", "venv", "bob")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("sites:\n  a: {runtime: docker}", 2, "sites.a: the key 'scheduler' is missing: how a process starts there"),
        ("sites:\n  a: {scheduler: slrm}", 2, "sites.a.scheduler: there is no scheduler 'slrm'; did you mean 'slurm'?"),
        ("sites:\n  a:\n    scheduler: {slurm: {partion: x}}", 3, "the key 'partion' is not known in scheduler slurm"),
        ("sites:\n  a:\n    scheduler: {slurm: {array: 0}}", 3, "a whole number of at least 1 is expected"),
        (
            "sites:\n  a:\n    scheduler: kubernetes\n    runtime: docker",
            4,
            "the runtime docker cannot be with the scheduler kubernetes: a pod's image is its container",
        ),
        (
            "sites:\n  a:\n    scheduler: kubernetes\n    staging: shared",
            4,
            "its nodes share no file system with this machine; write staging: http or objects",
        ),
        ("sites:\n  a: {like: b}\n  b: {like: a}", 2, "are like each other in a circle"),
        ("sites:\n  a: {like: locl}", 2, "there is no site 'locl'; did you mean 'local'?"),
        ("rules:\n  - {at: nowhere}", 2, "there is no site 'nowhere'; the sites are local"),
        ("rules:\n  - {at: local, gpus: many}", 2, "'many' is no comparison with a whole number"),
        ("rules:\n  - {at: local, memory: '>= 4 lots'}", 2, "is not a size"),
        ("rules:\n  - {lane: command}", 2, "the key 'at' is missing"),
        ("rules:\n  - {at: local, lane: fast}", 2, "one of function, command, or a list of them, is expected"),
        ("default: here", 1, "there is no site 'here'"),
        ("sites:\n  a: {scheduler: local, resources: {cpus: 2}}", 2, "the key 'cpus' is not known in site resources"),
        ("sites:\n  a: {scheduler: local, resources: {memory: lots}}", 2, "is not a size"),
        ("sites:\n  'a b': {scheduler: local}", 2, "is not the name of a site"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, line, what):
    with pytest.raises(Invalid) as raised:
        load(text)
    assert any(each.startswith(f"sites.yaml:{line}:") and what in each for each in str(raised.value).splitlines()), str(
        raised.value
    )


def test_a_wrong_site_is_told_in_its_own_file():
    with pytest.raises(Invalid, match=r"other\.yaml:1: sites\.b\.like: there is no site 'nothing'"):
        load("sites: {a: {scheduler: local}}", "sites: {b: {like: nothing}}")


def test_files_are_read_from_the_disk(tmp_path):
    (tmp_path / "sites.yaml").write_text(CLUSTER)
    assert set(read_sites([tmp_path / "sites.yaml"], ADAPTERS, BUILTIN).described) == {"local", "cluster", "long"}


def test_the_schema_takes_what_the_reader_takes():
    schema = schema_of("Sites", sites_section(ADAPTERS))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(parse(CLUSTER, "sites.yaml").value)
    assert not validator.is_valid({"sites": {"a": {"scheduler": {"slurm": {"partion": "x"}}}}})
    assert not validator.is_valid({"rules": [{"lane": "command"}]})
    json.dumps(schema)
