"""Search files.

Oracles: what was written reads back equal; every refusal is one line that names the file (or the ``--set``), the key,
what was found and what is accepted.
"""

from pathlib import Path

import pytest
from pydantic import ValidationError

from evonas import config
from evonas.config import section
from evonas.errors import InputError
from evonas.graph.space import SearchSpace

SHIPPED = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.toml"))
MINIMAL = 'name = "tiny"\n[[tasks]]\narchitecture = "preact_resnet"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(MINIMAL)
    return file


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as error:
        config.load_search(path, overrides)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


def test_a_minimal_file_takes_the_defaults(path: Path) -> None:
    search = config.load_search(path)
    assert search == config.SearchConfig(name="tiny", tasks=(config.TaskConfig(architecture="preact_resnet"),))
    assert (search.seed, search.space.intermediate_nodes, search.layer.groups, search.layer.eps) == (1, 10, 32, 1e-5)


def test_every_key_written_out_reads_back(path: Path) -> None:
    search = config.load_search(path)
    path.write_text(section.dump(search))
    assert config.load_search(path) == search


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda file: file.stem)
def test_shipped_search_files_load_and_read_back(shipped: Path, path: Path) -> None:
    search = config.load_search(shipped)
    path.write_text(section.dump(search))
    assert config.load_search(path) == search
    assert SearchSpace.load(shipped) == SearchSpace.from_config(search.space)


def test_there_are_shipped_search_files() -> None:
    assert SHIPPED


def test_values_that_are_not_defaults_read_back(path: Path) -> None:
    settings = [
        "seed=7",
        'space.index_sets=["hw", "ghw"]',
        "layer.eps=1e-3",
        "tasks.0.width=0.25",
        "tasks.0.depth=[1, 1]",
        "tasks.0.head=16",
        "data.name=npz",
        "data.path=some folder/images.npz",
        "protocols.numerics.scales=[0.5]",
        "protocols.propagation.activation=[0.5, 2]",
        "evolution.algorithm=nsga2",
        "budget.minutes=1.5",
    ]
    search = config.load_search(path, settings)
    assert (search.seed, search.space.index_sets, search.layer.eps) == (7, ("hw", "ghw"), 1e-3)
    assert (search.tasks[0].width, search.tasks[0].depth, search.tasks[0].head) == (0.25, (1, 1), 16)
    assert (search.data.name, search.data.path) == ("npz", "some folder/images.npz")
    assert (search.protocols.numerics.scales, search.evolution.algorithm) == ((0.5,), "nsga2")
    assert search.protocols.propagation.activation == (0.5, 2.0)
    path.write_text(section.dump(search))
    assert config.load_search(path) == search


def test_a_whole_number_may_stand_for_a_decimal_one(path: Path) -> None:
    assert config.load_search(path, ["training.learning_rate=1"]).training.learning_rate == 1.0


@pytest.mark.parametrize(
    ("changes", "rates"),
    [
        ([], (0.1,)),
        (["training.learning_rate=0.3"], (0.3,)),
        (["training.learning_rates=[]"], (0.1,)),
        (["training.learning_rates=[0.3]"], (0.3,)),
        (["training.learning_rates=[1, 0.3]"], (1.0, 0.3)),
        (["training.learning_rates=[0.3, 0.03]", "training.learning_rate=0.03"], (0.3, 0.03)),
    ],
)
def test_one_learning_rate_or_several_are_read_and_read_back(
    path: Path, changes: list[str], rates: tuple[float, ...]
) -> None:
    found = config.load_search(path, changes)
    assert found.training.rates == rates
    path.write_text(section.dump(found))
    assert config.load_search(path) == found
    single = found.training.at_rate(0.5)
    assert single.rates == (0.5,)
    assert single == config.load_search(path, ["training.learning_rates=[]", "training.learning_rate=0.5"]).training


def test_a_learning_rate_that_is_none_of_several_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=r"training\.learning_rate: 0\.2; accepted: one of learning_rates, 1, 0\.1; "):
        config.load_search(path, ["training.learning_rates=[1, 0.1]", "training.learning_rate=0.2"])


def test_configurations_are_immutable(path: Path) -> None:
    with pytest.raises(ValidationError):
        config.load_search(path).seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("evolution.windwo=5", ["evolution.windwo: unknown key", "window", "did you mean 'window'?"]),
        ("training.learning_rates=[0.1, 0.3, 0.1]", ["training.learning_rates: [0.1, 0.3, 0.1]", "rate once"]),
        ("training.learning_rates=[0.1, 0]", ["training.learning_rates.1: 0", "greater than 0"]),
        ("training.learning_rates=0.1", ["training.learning_rates: 0.1", "array"]),
        ("tasks.0.widht=1", ["tasks.0.widht: unknown key", "architecture", "did you mean 'width'?"]),
        ("protocols.propagation.gradient=[2, 1]", ["protocols.propagation.gradient: [2, 1]", "[least, greatest]"]),
        ("protocols.propagation.gradient=[2]", ["protocols.propagation.gradient"]),
        ("protocols.quality.zzz=1", ["protocols.quality.zzz: unknown key", "steps, min_accuracy"]),
        ("spaces.layout=bchw", ["spaces: unknown key", "did you mean 'space'?"]),
        ("seed=one", ["seed: 'one'", "integer"]),
        ("seed=1.5", ["seed: 1.5", "integer"]),
        ("evolution.window=true", ["evolution.window: True", "integer"]),
        ("data.flip=1", ["data.flip: 1", "boolean"]),
        ("layer.eps=small", ["layer.eps: 'small'", "number"]),
        ("execution.device=3", ["execution.device: 3", "string"]),
        ("space.primitives=add", ["space.primitives: 'add'", "array"]),
        ("space.primitives=[1]", ["space.primitives.0: 1", "string"]),
        ("evolution.window=0", ["evolution.window: 0", "greater than 0"]),
        ("evolution.tournament=1.5", ["evolution.tournament: 1.5", "less than or equal to 1"]),
        ("layer.momentum=-0.1", ["layer.momentum: -0.1", "greater than or equal to 0"]),
        ("layer.groups=0", ["layer.groups: 0", "greater than 0"]),
        ("layer.eps=inf", ["layer.eps: inf", "finite number"]),
        ("budget.minutes=nan", ["budget.minutes: nan"]),
        ("tasks.0.depth=[-1]", ["tasks.0.depth.0: -1", "greater than or equal to 0"]),
        (
            "tasks.0.architecture=vgg",
            ["tasks.0.architecture: 'vgg'", "preact_resnet, mobilenet_v2", "timm:NAME or torchvision:NAME"],
        ),
        ("rungs={steps=[25, 100], reductions=[2.0]}", ["rungs.reductions: 1 for 2 steps", "as many as steps, or none"]),
        ("tasks.0.architecture=timm:", ["tasks.0.architecture: 'timm:'", "timm:NAME"]),
        ("tasks.0.task=a.b:c", ["tasks.0: ", "an architecture, a transformer or a task, one of them"]),
        ("tasks.0.task=a.b", ["tasks.0.task: 'a.b'", "pattern"]),
        ('tasks=[{architecture="timm:resnet18", width=0.5}]', ["tasks.0.width: scales timm:resnet18", "only preact_"]),
        ("data.name=mnist", ["data.name: 'mnist'", "'digits'", "'cifar10'"]),
        ('name="a b"', ["name: 'a b'", "pattern"]),
        ("tasks=[]", ["tasks", "at least 1 item"]),
        ("rerank.seeds=0", ["rerank.seeds: 0", "greater than 0"]),
        ('rerank.tasks=[{architecture="densenet", widht=1}]', ["rerank.tasks.0.widht: unknown key", "'width'"]),
        ("data.score_on=train", ["data.score_on: 'train'", "'validation'", "'test'"]),
        ("space=3", ["space: 3"]),
    ],
)
def test_a_bad_value_is_refused_with_file_and_key(path: Path, override: str, names: list[str]) -> None:
    message = refusal(path, override)
    assert message.startswith(f"{path}: ")
    assert all(name in message for name in names), message


def test_a_file_without_tasks_is_refused(path: Path) -> None:
    path.write_text('name = "tiny"\n')
    assert refusal(path) == f"{path}: tasks: is missing; add the key"


def test_a_task_without_an_architecture_is_refused(path: Path) -> None:
    path.write_text('name = "tiny"\n[[tasks]]\nwidth = 0.5\n')
    assert (
        refusal(path)
        == f"{path}: tasks.0: has neither; accepted: an architecture, a transformer or a task, one of them"
    )


TASKS = 'tasks=[{architecture="preact_resnet"}, {architecture="preact_resnet"}]'
ONE_NAME = "two tasks are called 'preact_resnet'; give one of them a name of its own"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["rungs.steps=[40, 20]"], "rungs.steps: [40, 20]; accepted: ascending numbers below training.steps, 100"),
        (["rungs.steps=[20, 20]"], "rungs.steps: [20, 20]; accepted: ascending numbers below training.steps, 100"),
        (["rungs.steps=[100]"], "rungs.steps: [100]; accepted: ascending numbers below training.steps, 100"),
        (
            ["rungs.steps=[9]", "training.steps=9"],
            "rungs.steps: [9]; accepted: ascending numbers below training.steps, 9",
        ),
        (
            ["rungs.steps=[2]", "baselines=[]"],
            "baselines: none, but there are rungs; name a layer whose curve the rungs go by",
        ),
        ([TASKS], f"tasks: {ONE_NAME}"),
        ([f"rerank.{TASKS}"], f"rerank.tasks: {ONE_NAME}"),
        (
            ["objectives.shift=true", 'tasks=[{transformer="55k"}]'],
            "objectives.shift: transformer-55k classifies no images; accepted: a network that does as the first",
        ),
        (["objectives.own=['mine']", "tasks.0.name=mine"], "tasks.name: 'mine' is an objective already"),
        *(
            (
                [f"objectives.{name}=true", task],
                f"tasks.name: {name!r} is an objective already; give the task another name",
            )
            for name in config.ObjectivesConfig.model_fields
            if name != "own"
            for task in (f"tasks.0.name={name}", f'tasks=[{{task="my.tasks:{name}"}}]')
        ),
    ],
)
def test_sections_that_do_not_go_together_are_refused_with_file_and_key(
    path: Path, overrides: list[str], words: str
) -> None:
    assert refusal(path, *overrides).startswith(f"{path}: {words}")


def test_a_task_may_have_the_name_of_an_objective_that_is_off(path: Path) -> None:
    assert config.load_search(path, ["tasks.0.name=latency", "objectives.parameters=true"]).tasks[0].label == "latency"


def test_configurations_made_in_python_are_refused_too() -> None:
    task = config.TaskConfig(architecture="preact_resnet")
    with pytest.raises(ValidationError, match="two tasks are called 'preact_resnet'"):
        config.SearchConfig(name="a", tasks=(task, task))


def test_several_faults_are_counted(path: Path) -> None:
    assert "(and 1 more)" in refusal(path, "seed=-1", "layer.groups=0")
    assert "more" not in refusal(path, "tasks.0.task=a.b:c")  # that there is then no task is no other fault


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("evolution.window", ["cannot be read", "section.key=value"]),
        ("=5", ["cannot be read"]),
        ("evolution..window=5", ["cannot be read"]),
        (".seed=5", ["cannot be read"]),
        ("name.first=x", ["name is a value, not a section"]),
        ("tasks.1.width=1", ["no item '1'", "0 to 0"]),
        ("tasks.².width=1", ["no item '²'", "0 to 0"]),
        ("tasks.first.width=1", ["no item 'first'", "0 to 0"]),
        ("tasks.1=1", ["no item '1'"]),
        ("tasks.0.width.x=1", ["tasks.0.width"]),
    ],
)
def test_a_bad_override_is_refused_with_what_was_typed(path: Path, override: str, names: list[str]) -> None:
    path.write_text(MINIMAL + "width = 0.5\n")
    message = refusal(path, override)
    assert message.startswith(f"--set {override}: ")
    assert all(name in message for name in names), message


def test_an_override_may_make_a_section_and_change_a_listed_task(path: Path) -> None:
    search = config.load_search(path, ["evolution.window=7", "tasks.0.name=small net", "tasks.0.unstrided=1"])
    assert (search.evolution.window, search.tasks[0].name, search.tasks[0].unstrided) == (7, "small net", 1)


def test_a_later_override_wins(path: Path) -> None:
    assert config.load_search(path, ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize("content", [b"name = ", b"[space\n", b"\xff\xfe", b"name = 1979-05-27\n[[tasks]]\n"])
def test_a_file_that_is_not_toml_or_holds_other_types_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: ")


def test_a_missing_file_is_refused_with_its_neighbours(path: Path) -> None:
    assert refusal(path.with_name("other.toml")) == (
        f"{path.with_name('other.toml')}: no such file; {path.parent} holds tiny.toml"
    )


def test_a_folder_is_refused(path: Path) -> None:
    assert "is a folder" in refusal(path.parent)


@pytest.mark.parametrize(
    ("tasks", "named"),
    [
        ((config.TaskConfig(architecture="preact_resnet"), config.TaskConfig(architecture="mobilenet_v2")), "digits"),
        ((config.TaskConfig(transformer="16x1"),), "topics"),
        ((config.TaskConfig(architecture="preact_resnet"), config.TaskConfig(transformer="16x1")), "digits and topics"),
    ],
)
def test_a_search_names_what_its_tasks_learn_from(tasks: tuple[config.TaskConfig, ...], named: str) -> None:
    assert config.SearchConfig(name="a", tasks=tasks).learned_from == named


def test_a_search_on_a_file_is_named_after_it() -> None:
    task = config.TaskConfig(architecture="preact_resnet")
    data = config.DataConfig(name="npz", path="some/cifar.npz")
    assert config.SearchConfig(name="a", tasks=(task,), data=data).learned_from == "cifar"
