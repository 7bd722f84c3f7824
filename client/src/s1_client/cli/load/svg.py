# SPDX-License-Identifier: Apache-2.0
"""Convert a figure to an SVG element for an HTML page, with unique ids and the page's colour variables."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

from s1_client.cli.load.figures import ReportFigure
from s1_client.cli.output import clean
from s1_client.cli.plots.style import COLOURS, GREY, INK, LIGHT

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Colour (in lower case, as matplotlib writes it) -> CSS variable of the page.
VARIABLES = {colour.lower(): f"--c{number}" for number, colour in enumerate(COLOURS)}
VARIABLES |= {INK.lower(): "--ink", GREY: "--grey", LIGHT: "--line", "#ffffff": "--paper"}
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")


def inline_svg(drawn: ReportFigure, prefix: str) -> str:
    """Return the SVG element with a description for screen readers; all its ids start with ``prefix``."""
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    text = io.StringIO()
    drawn.figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(clean(text.getvalue()))  # noqa: S314  # written by matplotlib
    for element in (*root.findall(f"{{{SVG}}}metadata"), root.find(f"{{{SVG}}}defs")):  # its style would apply to the whole page
        if element is not None:
            root.remove(element)
    for element in root.iter():
        _adapt(element, prefix)
    for size in ("width", "height"):
        root.attrib.pop(size)
    root.attrib |= {"role": "img", "aria-label": f"{drawn.title}. {drawn.caption}", "style": "stroke-linejoin: round; stroke-linecap: butt"}
    return ET.tostring(root, encoding="unicode")


def _adapt(element: ET.Element, prefix: str) -> None:
    for name, value in element.attrib.items():
        if name == "id":
            element.set(name, prefix + value)
        elif name == f"{{{XLINK}}}href":
            element.set(name, value.replace("#", f"#{prefix}", 1))
        else:
            element.set(name, _COLOUR.sub(_variable, value.replace("url(#", f"url(#{prefix}")))
    for name in ("fill", "stroke"):  # CSS variables work in a style, not in an attribute
        if "var(" in element.get(name, ""):
            element.set("style", f"{element.get('style', '')}; {name}: {element.attrib.pop(name)}".lstrip("; "))


def _variable(colour: re.Match[str]) -> str:
    name = VARIABLES.get(colour.group())
    return f"var({name})" if name else colour.group()
