"""The laws of docs/engine.svg: it shows the code as it is, and the script that draws it fails where the code is another."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def draw_engine():
    spec = importlib.util.spec_from_file_location("draw_engine", ROOT / "docs" / "draw_engine.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks its own module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_engine_picture_is_drawn_from_the_code(draw_engine):
    """Running the script gives the committed picture, which is small and loads nothing from elsewhere."""
    committed = (ROOT / "docs" / "engine.svg").read_text()
    assert draw_engine.picture() == committed, "run: python docs/draw_engine.py"
    assert len(committed.encode()) < 30_000
    assert committed.count("http") == 1  # the name of the SVG namespace


@pytest.mark.parametrize(
    ("file", "before", "after", "sentence"),
    [
        ("engine/groups.py", "def batch_groups(", "def groups_of_batches(", "engine/groups.py does not define batch_groups"),
        ("engine/step.py", "self.gradients.finish(terms)", "pass", "does not call .finish"),
        (
            "engine/step.py",
            "from torch_rechub.engine.exchange import Exchange",
            "from elsewhere import Exchange",
            "does not import Exchange",
        ),
        ("engine/validation.py", 'callbacks.call("on_new_best")', "pass", "nothing calls on_new_best"),
        ("engine/run.py", 'self.trainer.callbacks.call("on_save")', "pass", "nothing calls on_save"),
        ("engine/run.py", "self.requests.current.stop", "self.requests.current.halt", "Run.handle_requests does not use requests.stop"),
        ("basic/callback/checkpoint.py", "trainer.request_save(", "trainer.request_pause(", "does not call .request_save"),
        ("basic/callback/training.py", "def run_state(", "def state_of_run(", "does not define Training.run_state"),
        ("basic/callback/base.py", '    "on_save",\n', "", "are not those of HOOKS: ['on_save']"),
        ("storage/saves.py", "split_tree(state), about)", "split_tree(state), about) ", ""),
    ],
)
def test_engine_picture_fails_where_the_code_is_another(draw_engine, tmp_path, file, before, after, sentence):
    """A function, a call, an import or a hook that is gone is named; a change that touches none of them changes nothing."""
    shutil.copytree(ROOT / "torch_rechub", tmp_path / "torch_rechub", ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
    path = tmp_path / "torch_rechub" / file
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    if not sentence:
        assert draw_engine.picture(tmp_path / "torch_rechub") == (ROOT / "docs" / "engine.svg").read_text()
        return
    with pytest.raises(SystemExit) as error:
        draw_engine.picture(tmp_path / "torch_rechub")
    assert sentence in str(error.value)


def test_engine_picture_fails_where_two_calls_change_places(draw_engine, tmp_path):
    """The order in which functions are called is that of the code."""
    shutil.copytree(ROOT / "torch_rechub", tmp_path / "torch_rechub", ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
    path = tmp_path / "torch_rechub" / "engine" / "validation.py"
    begin, measure = 'callbacks.call("on_validation_begin")', "self._measure()"
    text = path.read_text().replace(begin, "@").replace(measure, begin).replace("@", measure)
    path.write_text(text)
    with pytest.raises(SystemExit, match="or not in this order"):
        draw_engine.picture(tmp_path / "torch_rechub")
