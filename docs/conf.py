"""How Sphinx builds the site: ``python -m sphinx -W --keep-going docs docs/_build``."""

import inspect
import re
import sys
import warnings
from pathlib import Path

import matplotlib
from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from matplotlib.figure import Figure
from matplotlib.pyplot import close, fignum_exists
from sphinx.util.docutils import SphinxRole
from sphinx_gallery.scrapers import figure_rst

ROOT = Path(__file__).parents[1]
# Last: an installed fastmlp comes before the source tree's.
sys.path += [str(ROOT), str(ROOT / "docs")]

import legible  # noqa: E402

import fastmlp  # noqa: E402

project = "fastmlp"
copyright = "2026, the fastmlp developers"
version = release = fastmlp.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/*.ipynb"]
templates_path = ["_templates"]
root_doc = "index"
nitpicky = True
suppress_warnings = ["config.cache"]  # functions among the settings: they are read anew each time

# Markdown

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"


def link_within_the_site(app, page, source):
    """Pages that lie beside docs/ on a code host are pages of the site, by other names."""
    source[0] = re.sub(
        r"\]\((?:\.\./)+(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md",
        lambda found: f"](/{OUTSIDE[found[1]]}.md",
        source[0],
    )


OUTSIDE = {
    "README": "index",
    "CHANGELOG": "changelog",
    "CONTRIBUTING": "contributing",
    "SECURITY": "security",
}


def put_formula(writer, node, display):
    """A formula as MathML: browsers show it by themselves, without a script from elsewhere."""
    writer.body.append(convert(node.astext(), display=display))
    raise SkipNode


# The reference

default_role = "name"
autosummary_generate = True
autodoc_typehints = "none"
maximum_signature_line_length = 68
toc_object_entries_show_parents = "hide"
autodoc_default_options = {
    "members": True,
    "inherited-members": ",".join(
        (
            *("BaseEstimator", "ClassifierMixin", "RegressorMixin", "MultiOutputMixin"),
            *("ABC", "Enum", "StrEnum", "Generic", "Protocol", "Sequence", "Mapping"),
            *("dict", "list", "str", "tuple", "object"),
        )
    ),
    # Made by scikit-learn, and documented there.
    "exclude-members": "set_fit_request, set_partial_fit_request, set_score_request, "
    "set_predict_request, get_metadata_routing, set_predict_proba_request, set_transform_request",
}
numpydoc_show_class_members = False


class Name(SphinxRole):
    """A name between single backticks, as docstrings have it: a link if it is in the reference."""

    def run(self):
        of_any_object = self.env.get_domain("py").role("obj")
        made = of_any_object("obj", self.rawtext, self.text, self.lineno, self.inliner)
        for node in made[0]:
            node["may_be_missing"] = True
        return made


def leave_plain(app, environment, node, content):
    """What is no public name, such as a parameter's, stays as it is."""
    return content if node.get("may_be_missing") else None


# The gallery


def figures(block, variables, settings):
    """Pictures of the figures that a block of a script made, pyplot's and fastmlp's own.

    One that needs colour to be read is an error.
    """
    made = [
        (name, value)
        for name, value in variables["example_globals"].items()
        if isinstance(value, Figure) and not hasattr(value, "_is_on_its_page")
    ]
    paths = []
    for _, figure in made:
        found = legible.faults(figure)
        if found:
            raise ValueError(f"{variables['src_file']}: {'; '.join(found)}")
        path = next(variables["image_path_iterator"])
        figure.savefig(path, dpi=130)
        figure._is_on_its_page = True
        paths.append(path)
        if fignum_exists(getattr(figure, "number", -1)):
            close(figure)
    return figure_rst(paths, settings["src_dir"])


def plain_style(settings, script):
    """Every script starts from the style of the gallery's figures."""
    matplotlib.rc_file_defaults()
    matplotlib.style.use(ROOT / "examples" / "gallery" / "gallery.mplstyle")


sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "image_scrapers": (figures,),
    "reset_modules": (plain_style,),
    "backreferences_dir": "api/backreferences",
    "doc_module": ("fastmlp",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
    "min_reported_time": 10_000,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "copyfile_regex": r".*\.mplstyle",
}
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

# The look

html_theme = "pydata_sphinx_theme"
html_title = f"fastmlp {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {"index": [], "start/index": []}  # pages with none below them
html_copy_source = False
html_theme_options = {
    "logo": {"text": "fastmlp"},
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def constructor_signature(app, what, name, found, options, signature, returns):
    """What a class is made from: `__new__`, where Sphinx looks first, may take any names."""
    if what != "class" or signature is None:
        return None
    shown = inspect.signature(found)
    parameters = [one.replace(annotation=one.empty) for one in shown.parameters.values()]
    return str(shown.replace(parameters=parameters, return_annotation=shown.empty)), None


def setup(app):
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda writer, node: put_formula(writer, node, "inline"), None),
        block_renderers=(lambda writer, node: put_formula(writer, node, "block"), None),
    )
    app.add_role("name", Name())
    app.connect("missing-reference", leave_plain)
    app.connect("autodoc-process-signature", constructor_signature)
    app.connect("source-read", link_within_the_site)
    app.connect("include-read", lambda app, path, page, text: link_within_the_site(app, page, text))
