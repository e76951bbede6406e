#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md and the sizing in docs/operations.md, made of *.md.in and results/*.json. README.md beside this
says how.

  report.py take NAME...   takes build/bench/NAME.json over as results, and makes the pages
  report.py make           makes the pages
  report.py check          fails if a page is not what would be made
  report.py try NAME...    fails if build/bench/NAME.json, of a --quick run or not, lacks what a page shows of NAME
"""

import argparse
import json
import pathlib
import re
import shutil
import sys

import capacity

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
FRESH = ROOT / "build/bench"
PAGES = {HERE / "benchmarks.md.in": ROOT / "docs/benchmarks.md"}
# Of these only what stands between the marks is made.
PARTS = {HERE / "sizing.md.in": ROOT / "docs/operations.md"}
MARKS = "<!-- begin: made by tests/bench/report.py of tests/bench/{} -->\n", "<!-- end -->\n"
HEAD = ("bench", "command", "quick", "date", "revision", "machine", "figures")
CHOICE = re.compile(r"^\{\{if (\w+)\}\}\n(.*?)(?:^\{\{else\}\}\n(.*?))?^\{\{end\}\}\n", re.M | re.S)
SLOT = re.compile(r"\{\{(.*?)\}\}")
OPERATORS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}


class Fault(Exception):
    """What is wrong with template or results, for a person."""


def load(folder: pathlib.Path) -> dict[str, dict]:
    results = {}
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text())
        missing = [key for key in HEAD if key not in result]
        if missing:
            raise Fault(f"{file.name}: {', '.join(missing)} missing; README.md describes the form")
        if result["bench"] != file.stem:
            raise Fault(f"{file.name} is of {result['bench']}")
        if result["quick"]:
            raise Fault(f"{file.name}: of a --quick run, which is not for the page")
        results[file.stem] = result
    return results


def number(value: float, form: str | None) -> str:
    if isinstance(value, str):
        return value
    if form:
        return format(value, ("," if "," not in form else "") + form)
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:,.1f}"


def operand(word: str, figures: dict) -> float | str:
    if word in figures:
        return figures[word]
    try:
        return float(word)
    except ValueError:
        raise Fault(f"no figure {word!r}") from None


def expression(words: list[str], figures: dict) -> float | str:
    value = operand(words[0], figures)
    if len(words) % 2 == 0:
        raise Fault("an operator or a figure is missing")
    for operator, word in zip(words[1::2], words[2::2]):
        if operator not in OPERATORS:
            raise Fault(f"no operator {operator!r}")
        value = OPERATORS[operator](value, operand(word, figures))
    return value


def filled(slot: str, results: dict[str, dict]) -> str:
    name, *words = slot.split()
    if name not in results:
        raise Fault(f"no results/{name}.json")
    result = results[name]
    if any(word.startswith("*.") for word in words):
        return " | ".join(filled(" ".join([name, *(word.replace("*", head, 1) if word.startswith("*.") else word
                                                   for word in words)]), results)
                          for head in dict.fromkeys(key.partition(".")[0] for key in result["figures"]))
    if words and words[0].startswith("@"):
        if words == ["@run"]:
            return run_said(result)
        if words[0][1:] not in result or len(words) != 1:
            raise Fault(f"no {words[0]}")
        return str(result[words[0][1:]])
    form = words.pop() if len(words) > 1 and re.fullmatch(r",?\.\d+[f%]", words[-1]) else None
    if not words:
        raise Fault("which figure?")
    if words[-1] == "spread" and len(words) == 2:
        low, high = (operand(f"{words[0]}.{end}", result["figures"]) for end in ("min", "max"))
        return f"{number(low, form)} to {number(high, form)}"
    if words[-1] == "ranged" and len(words) == 2:
        return ranged(words[0], result["figures"], form)
    return number(expression(words, result["figures"]), form)


def run_said(result: dict) -> str:
    """Of a run: what, when, of which tree, and how busy others kept the machine before it."""
    load = f"{result['load_before']:.2f}" if result.get("load_before") is not None else "not noted"
    took = f"; {result['seconds']:,} s" if "seconds" in result else ""
    return f"`{result['command']}`, {result['date']}, revision {result['revision']}; load before it: {load}{took}"


def ranged(key: str, figures: dict, form: str | None) -> str:
    """The median, and the spread where there were several runs."""
    middle = number(operand(key, figures), form)
    if figures.get(f"{key}.runs", 1) == 1:
        return middle
    return f"{middle} ({number(figures[f'{key}.min'], form)} to {number(figures[f'{key}.max'], form)})"


def page(template: str, results: dict[str, dict]) -> str:
    faults = []

    def fill(found: re.Match) -> str:
        try:
            return filled(found[1], results)
        except Fault as fault:
            faults.append(f"{found[0]}: {fault}")
            return ""

    chosen = CHOICE.sub(lambda found: found[2] if found[1] in results else found[3] or "", template)
    made = re.sub(r"\n{3,}", "\n\n", SLOT.sub(fill, chosen))
    if faults:
        raise Fault("\n".join(faults))
    return made


def lacking(template: str, results: dict[str, dict]) -> list[str]:
    """What `template` shows of these results and they do not have."""
    faults = []
    for slot in SLOT.findall(template):
        if slot.split() and slot.split()[0] in results:
            try:
                filled(slot, results)
            except Fault as fault:
                faults.append(f"{{{{{slot}}}}}: {fault}")
    return faults


def fresh(name: str, folder: pathlib.Path) -> dict:
    source = folder / f"{name}.json"
    if not source.is_file():
        raise Fault(f"there is no {source}: ./dev bench {name} makes it")
    result = json.loads(source.read_text())
    if missing := [key for key in (*HEAD, "load_before", "seconds") if key not in result]:
        raise Fault(f"{source}: {', '.join(missing)} missing; README.md describes the form")
    return result


def attempt(names: list[str], folder: pathlib.Path = FRESH) -> None:
    results = {name: fresh(name, folder) for name in names}
    faults = [fault for template in PAGES | PARTS for fault in lacking(template.read_text(), results)]
    if faults:
        raise Fault("\n".join(faults))


def placed(made: str, template: pathlib.Path, old: str) -> str:
    """The `old` page with `made` between the marks of `template`."""
    begin, end = MARKS[0].format(template.name), MARKS[1]
    before, begun, rest = old.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise Fault(f"the page is to have {begin.strip()} and then {end.strip()}, each on a line of its own")
    return before + begin + "\n" + made.strip() + "\n\n" + end + after


def take(names: list[str]) -> None:
    for name in names:
        if fresh(name, FRESH)["quick"]:
            raise Fault(f"{name}: of a --quick run, which is not for the page")
        shutil.copyfile(FRESH / f"{name}.json", RESULTS / f"{name}.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("what", choices=["take", "make", "check", "try"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    try:
        if options.what == "try":
            attempt(options.names)
            return 0
        if options.what == "take":
            take(options.names)
        results = load(RESULTS)
        results |= capacity.derived(results)
        for template, target in (PAGES | PARTS).items():
            old = target.read_text()
            made = page(template.read_text(), results)
            if template in PARTS:
                made = placed(made, template, old)
            if options.what != "check":
                target.write_text(made)
            elif old != made:
                raise Fault(f"{target.relative_to(ROOT)} is not what {template.relative_to(ROOT)} and the results make: "
                            "change these, then tests/bench/report.py make")
    except Fault as fault:
        print(f"report: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
