"""The documentation as a site: Sphinx reads the pages where they lie, from the root of the repository."""

import os
from importlib import metadata

# Tutorials run in processes of their own, which inherit this: threads that spin beside other work make steps slow.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

project = "hyperframe"
release = metadata.version("hyperframe-nn")
copyright = "The hyperframe developers"

extensions = ["myst_nb", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = [
    f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY", "docs/**", "plugins/*/README")
]
exclude_patterns = ["**/.*", ".*", "build", "dist", "runs", "plugins/*/build"]  # not even looked into

# Links are those of the Markdown: to headings by the names that code hosts give them, to other files as downloads.
myst_heading_anchors = 4

nb_execution_mode = "cache"
nb_execution_cache_path = "build/tutorials"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

html_theme = "furo"
html_title = f"hyperframe {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["root"]
html_copy_source = False

navigation = {
    "Start": ["Overview <../README>", "choosing", "estimators", "examples", "limits"],
    "Tutorials": [
        "tutorials/own_table",
        "tutorials/elsewhere",
        "tutorials/choosing_lambda",
        "tutorials/active_learning",
        "tutorials/write_a_plugin",
    ],
    "How-to": ["commands", "data", "runs", "report", "analyses", "comparisons", "target", "task", "gauge", "prove"],
    "Reference": ["configuration", "cli", "api", "hooks", "laws"],
    "Results": ["results/*"],
    "Plugins": ["../plugins/*/README"],
    "Project": ["architecture", "../CONTRIBUTING", "../CHANGELOG", "../SECURITY"],
}


def add_navigation(app, page, source):
    """Give the start page, which is plain Markdown, the groups of the navigation."""
    if page == app.config.root_doc:
        for caption, pages in app.config.navigation.items():
            options = f":hidden:\n:glob:\n:caption: {caption}\n"
            source[0] += f"\n```{{toctree}}\n{options}\n" + "\n".join(pages) + "\n```\n"


def setup(app):
    """Prepare Sphinx; where the navigation changes, all pages are made again."""
    app.add_config_value("navigation", {}, "env")
    app.connect("source-read", add_navigation)
