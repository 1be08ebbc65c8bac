"""Every lesson as it is really run: in JupyterLab, in a browser, in its quick mode. Run by `make test-browser`."""

import shutil

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SCREENSHOTS = ROOT / "outputs" / "browser"
# Pages as wide as a desk's and a small window's, in pixels.
WIDE, NARROW = 1400, 700

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """JupyterLab on a copy of the notebooks, beside what they link to."""
    from lab import running_lab

    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "docs", folder / "docs")
    with running_lab(browser, folder) as lab:
        yield lab


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson(lab, path):
    from lab_widgets import films, use_film, use_widget, widgets

    folder = SCREENSHOTS / path.stem
    with lab.opened(path.name, WIDE) as lesson:
        lesson.settle()
        assert not lesson.marked_unsaved, "opening alone marks it as unsaved"
        lesson.save()
        assert lesson.path.read_bytes() == path.read_bytes(), "saving what was only opened changes it"

        lesson.interrupt_after(len(lesson.cells()) // 4)
        lesson.run_all()
        assert [(cell.id, cell.error) for cell in lesson.cells() if cell.error] == []
        assert [cell.id for cell in lesson.cells() if cell.count is None] == [], "not run"
        lesson.look(folder, "wide", WIDE)
        with_widgets = widgets(lesson)
        for widget in with_widgets.values():
            use_widget(lesson, widget)
        for film in films(lesson):
            use_film(film)
        assert lesson.broken_displays() == []

        lesson.look(folder, "narrow", NARROW)
        assert lesson.shrunk_figures() == 0
        lesson.wear("Dark")
        lesson.look(folder, "dark", WIDE)
        lesson.wear("Light")
        lesson.save()
        lesson.end_kernel()

    with lab.opened(path.name, WIDE) as again:
        again.look(folder, "reopened", WIDE)
        assert not again.marked_unsaved
        assert again.broken_displays() == []
        left = [number for number in with_widgets if again.outputs()[number].locator("img").count()]
        assert left == list(with_widgets), "code cells with a widget, and those that still show a picture"
        again.end_kernel()
