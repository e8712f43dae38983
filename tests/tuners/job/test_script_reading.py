"""What is certain of a script before it runs."""

import pytest

from flyball.tuners.job.script_reading import always_calls, names_batch

BUILD = "def build():\n    return PipelineModule([])\n"
MAIN = "if __name__ == '__main__':\n    main()\n"


@pytest.mark.parametrize(
    ("case", "script", "certain"),
    [
        ("at the top", "net = PipelineModule(layers)\n", True),
        ("by its module", "net = deepspeed.pipe.PipelineModule(layers)\n", True),
        ("in main", f"def main():\n    net = PipelineModule([])\n{MAIN}", True),
        ("in a helper", f"{BUILD}def main():\n    f(build())\n{MAIN}", True),
        ("under a with", "with zero():\n    net = PipelineModule([])\n", True),
        ("only imported", "from deepspeed.pipe import PipelineModule\n", False),
        ("in a branch", "if args.pipe:\n    net = PipelineModule([])\n", False),
        ("a conditional expression", "net = PipelineModule([]) if pipe else Net()\n", False),
        ("behind a return", f"def main():\n    if p:\n        return 1\n    PipelineModule()\n{MAIN}", False),
        ("in a helper that is called in a branch", f"{BUILD}if p:\n    build()\n", False),
        ("in a function that nobody calls", BUILD, False),
        ("not Python", "def (:\n", False),
    ],
)
def test_only_what_is_called_whatever_the_options_is_certain(case: str, script: str, certain: bool) -> None:
    assert always_calls(script, "PipelineModule") is certain


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("rows = engine.train_micro_batch_size_per_gpu()", True),
        ("rows = config['train_micro_batch_size_per_gpu']", True),
        ("engine, _, loader, _ = deepspeed.initialize(model=model, training_data=data)", True),
        ("loader = DataLoader(data, batch_size=4)  # train_micro_batch_size_per_gpu", False),
        ("def broken(:", False),
    ],
)
def test_a_script_names_its_batch_or_lets_deepspeed_load_its_data(script: str, named: bool) -> None:
    assert names_batch(script) is named
