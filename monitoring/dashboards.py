"""`python -m monitoring.dashboards`: writes the dashboards that the chart brings."""

import json
from pathlib import Path

from monitoring.autoscaler import AUTOSCALER
from monitoring.nats import NATS
from monitoring.panels import Dashboard, as_json
from monitoring.rollouts import ROLLOUTS
from monitoring.service import SERVICE

DASHBOARDS = (SERVICE, AUTOSCALER, ROLLOUTS, NATS)
FOLDER = Path(__file__).parents[1] / "charts" / "ssecast" / "dashboards"


def text_of(dashboard: Dashboard) -> str:
    return json.dumps(as_json(dashboard), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in DASHBOARDS:
        (FOLDER / f"{each.name}.json").write_text(text_of(each))


if __name__ == "__main__":
    main()
