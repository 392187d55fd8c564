"""Write docs/reference: every key of every file of settings, and every command, from the code itself.

python scripts/reference.py
python scripts/reference.py --check
"""

import argparse
import sys
from pathlib import Path

from reference_commands import commands_page
from reference_settings import settings_page

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check, changed = parser.parse_args().check, []
    for name, page in (("settings.md", settings_page()), ("commands.md", commands_page())):
        path = FOLDER / name
        if not path.is_file() or path.read_text(encoding="utf-8") != page:
            changed.append(name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(page, encoding="utf-8")
    print(f"{'outdated' if check else 'written'}: {', '.join(changed) or 'none'}")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
