"""Write the tables of keys in the docs, from what the models of files say about their keys.

A table stands between the lines ``<!-- keys of KIND -->`` and ``<!-- end of keys -->``; the kinds are those of
``evonas schema``.

    python scripts/key_tables.py             # writes them
    python scripts/key_tables.py --check     # exit status 1 if one would change
"""

import argparse
import re
import sys
from pathlib import Path

from evonas.config.keys import key_rows
from evonas.interface.files import model_of

DOCS = Path(__file__).parents[1] / "docs"
TABLE = re.compile(r"(<!-- keys of (\w+) -->\n).*?(<!-- end of keys -->\n)", re.DOTALL)


def table(kind: str) -> str:
    """The table of a kind of file in Markdown."""
    rows = (
        f"| `{key}` | {f'`{default}`' if default else 'must be given'} | {meaning.replace('|', chr(92) + '|')} |\n"
        for key, default, meaning in key_rows(model_of(kind))
    )
    return "".join(("\n| key | default | meaning |\n|---|---|---|\n", *rows, "\n"))


def main() -> int:
    """Write or check the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check, changed = parser.parse_args().check, []
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        wanted = TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], text)
        if wanted != text:
            changed.append(path.name)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    print(f"{'outdated' if check else 'written'}: {', '.join(changed) or 'none'}")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
