#!/usr/bin/env python3
"""Checks the rules of this project's style that a program can check.

check_style.py <file>... prints `file:line: rule` for each breach and exits with 1 if there is any.
A line may carry `// style: <word> - <reason>` to be excused: `seam` from the engine's purity,
`length` (where a body opens) from its length. `seam` on a line of its own excuses the whole file:
for the few that implement a seam with the real clock, threads and randomness.
check_style.py --self-test tries the checks on small examples.
"""

import re
import sys
from pathlib import Path

LINE_LENGTH_MAX = 100
FUNCTION_LINES_MAX = 70

# Rule 14: time, randomness, threads and I/O come in by parameter.
ENGINE = re.compile(r"^src/((memory|operator|stores(/[^/]+)?)/)?[^/]+\.(h|cc)$")
ENGINE_FORBIDDEN = re.compile(
    r"absl::Now\b|absl::SleepFor\b|absl::BitGen\b|\bsleep_(for|until)\b|\b(u|nano)?sleep\s*\("
    r"|\bs?rand(om)?\s*\(|\brandom_device\b|\bmt19937(_64)?\b"
    r"|\bstd::(j?thread\b(?!::id)|async\b)|\bpthread_create\b"
    r"|\b(system|steady|high_resolution)_clock\s*::\s*now\b|\bstd::time\s*\(|\bgettimeofday\b"
    r"|\bclock_gettime\b|\bgetenv\b|#include <(thread|random|fstream|iostream)>")

# Rule 6: names a reader can say aloud.
FILE_NAME_FORBIDDEN = re.compile(r"(^|_)(manager|helpers?|utils?|utilities|impl|misc|common)(_|\.)")

FUNCTION_RULE = re.compile(r"^(src|adapters)/(?!.*/tests/)")


def layer_of(path):
    """What a file is part of, and how its quoted or angled includes of our own may begin."""
    adapter = re.match(r"adapters/([^/]+)/(?!tests/)", path)
    if adapter:
        return "adapter " + adapter.group(1)
    if path.startswith("include/once/testing/") or path.startswith("src/testing/"):
        return "testing"
    if re.match(r"include/once/|src/((memory|operator|stores(/[^/]+)?)/)?[^/]+$", path):
        return "core"
    return None


def forbidden_include(layer, included, adapters):
    """The reason why `layer` may not include `included`, or None."""
    target = re.match(r"once/([^/]+)/", included)
    target = target.group(1) if target else None
    own = layer.split()[-1]
    if layer == "core" or layer.startswith("adapter "):
        if target == "testing":
            return "the library does not include its test support"
    if target in adapters and target != own:
        return f"{layer} does not include the adapter {target}"
    inside = re.match(r"adapters/([^/]+)/", included)
    if inside and inside.group(1) != own:
        return f"{layer} does not include the inside of the adapter {inside.group(1)}"
    # What durable stores share, and what is nothing outside of test builds.
    is_shared = included.startswith("src/stores/") or included == "src/test_hooks.h"
    if included.startswith("src/") and layer.startswith("adapter ") and not is_shared:
        return "an adapter includes the contract in include/once and src/stores only"
    return None


def without_comments_and_literals(text):
    """The text with comments and the insides of literals blanked; lines stay where they are."""
    pattern = re.compile(
        r'R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)"|//[^\n]*|/\*.*?\*/'
        r"|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'", re.DOTALL)

    def blank(match):
        found = match.group(0)
        if found[0] in "\"'R":
            return '"' + re.sub(r"[^\n]", " ", found[1:-1]) + '"'
        return re.sub(r"[^\n]", " ", found)

    text = pattern.sub(blank, text)
    # Preprocessor lines are no code; their braces need not balance.
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  text, flags=re.MULTILINE)


def function_lengths(code):
    """(first line, lines of the body) of every function body at namespace or class scope."""
    scopes = []
    head_start = 0
    for match in re.finditer(r"[{};]", code):
        at, char = match.start(), match.group(0)
        if char == "{":
            head = code[head_start:at]
            declares = re.search(r"\b(namespace|class|struct|union|enum|extern)\b[^()=]*$", head)
            inside_function = any(kind == "function" for kind, _ in scopes)
            if inside_function:
                kind = "block"
            elif declares or "(" not in head:
                kind = "scope"
            else:
                kind = "function"
            scopes.append((kind, code.count("\n", 0, at) + 1))
        elif char == "}" and scopes:
            kind, first = scopes.pop()
            if kind == "function":
                last = code.count("\n", 0, at) + 1
                yield first, max(0, last - first - 1)
        head_start = match.end()


def is_excused(line, word):
    return re.search(rf"// style: {word} - \S", line) is not None


def check(path, text, adapters=()):
    """Yields (line number, message) for each breach in one file."""
    lines = text.split("\n")
    code = without_comments_and_literals(text)
    code_lines = code.split("\n")
    if not lines[0].startswith("//"):
        yield 1, "begins with a comment that says what the file is for"
    if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
        yield 1, "a header has #pragma once"
    if FILE_NAME_FORBIDDEN.search(Path(path).name):
        yield 1, "the file's name is no noun of the domain (manager, helper, util, impl, common)"
    if text and not text.endswith("\n"):
        yield len(lines), "ends with a newline"

    layer = layer_of(path)
    is_seam = re.search(r"^// style: seam - \S", text, re.MULTILINE) is not None
    is_engine = ENGINE.match(path) is not None and not is_seam
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_LENGTH_MAX:
            yield number, f"{len(line)} columns, at most {LINE_LENGTH_MAX}"
        if line != line.rstrip():
            yield number, "trailing blanks"
        include = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if include and layer:
            reason = forbidden_include(layer, include.group(1), adapters)
            if reason:
                yield number, reason
        checked = line if include else code_lines[number - 1]
        found = ENGINE_FORBIDDEN.search(checked) if is_engine else None
        if found and not is_excused(line, "seam"):
            yield number, f"the engine reaches `{found.group(0).strip()}` through a seam only"

    if FUNCTION_RULE.match(path):
        for first, length in function_lengths(code):
            if length > FUNCTION_LINES_MAX and not is_excused(lines[first - 1], "length"):
                yield first, f"a function body of {length} lines, at most {FUNCTION_LINES_MAX}"


def self_test():
    def messages(path, text):
        return [message for _, message in check(path, text, ("sqlite", "kafka"))]

    body = "\n".join("  f();" for _ in range(71))
    cases = [
        ("include/once/a.h", "// A.\n#pragma once\n", 0),
        ("include/once/a.h", "#pragma once\n", 1),
        ("include/once/a.h", "// A.\n#pragma once\n#include <once/kafka/x.h>\n", 1),
        ("adapters/sqlite/a.cc", '// A.\n#include "src/lanes.h"\n', 1),
        ("adapters/sqlite/a.cc", '// A.\n#include "adapters/sqlite/b.h"\n', 0),
        ("adapters/sqlite/a.cc", '// A.\n#include "src/test_hooks.h"\n', 0),
        ("adapters/sqlite/a.cc", '// A.\n#include "src/stores/id_log/id_log.h"\n', 0),
        ("adapters/sqlite/a.cc", '// A.\n#include "src/stores/rows.h"\n', 0),
        ("src/stores/a.cc", '// A.\n#include "adapters/sqlite/b.h"\n', 1),
        ("src/stores/a.cc", "// A.\nstd::thread t;\n", 1),
        ("adapters/sqlite/a.cc", "// A.\n#include <once/kafka/x.h>\n", 1),
        ("adapters/sqlite/tests/a.cc", "// A.\n#include <once/testing/x.h>\n", 0),
        ("src/a.cc", "// A. absl::Now() is not called.\nauto t = clock.Now();\n", 0),
        ("src/a.cc", "// A.\nauto t = absl::Now();\n", 1),
        ("src/a.cc", "// A.\nauto t = absl::Now();  // style: seam - the system clock\n", 0),
        ("src/a.cc", "// A.\n// style: seam - the clock\nauto t = absl::Now();\n", 0),
        ("src/memory/a.cc", "// A.\nstd::thread t;\n", 1),
        ("src/stores/id_log/a.cc", "// A.\nstd::thread t;\n", 1),
        ("src/stores/id_log/a.cc", "// A.\n#include <once/sqlite/x.h>\n", 1),
        ("src/testing/a.cc", "// A.\nstd::thread t;\n", 0),
        ("src/a.cc", f"// A.\nnamespace a {{\nvoid F() {{\n{body}\n}}\n}}\n", 1),
        ("src/a.cc", f"// A.\nF::F() : a_{{1}}, b_(2) {{\n{body}\n}}\n", 1),
        ("src/a.cc", f"// A.\nclass C {{\n{body}\n}};\n", 0),
        ("src/a.cc", "// A.\nconst char c = '{';\nauto s = \"{\";\n", 0),
        ("src/string_util.cc", "// A.\n", 1),
        ("src/a.cc", "// " + "x" * 98 + "\n", 1),
    ]
    for path, text, expected in cases:
        found = messages(path, text)
        assert len(found) == expected, (path, text, found)


def main(arguments):
    # Cheap, and a check that checks nothing would be noticed by nobody.
    self_test()
    if arguments == ["--self-test"]:
        return 0
    adapters = tuple(p.name for p in Path("adapters").glob("*/") if p.is_dir())
    breaches = 0
    for name in arguments:
        for line, message in check(name, Path(name).read_text(encoding="utf-8"), adapters):
            print(f"{name}:{line}: {message}")
            breaches += 1
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
