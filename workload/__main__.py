from __future__ import annotations

from workload.cli import main

if __name__ == "__main__":
    main()
