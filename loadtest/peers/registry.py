"""The peers of this folder: how each is started, and what must be installed for it."""

from pathlib import Path

from loadtest.bench.peers import ALL_CORES, PYTHON, ROOT, Need, Peer
from loadtest.peers.nchan import MODULE

EXPRESS = Path(__file__).parent / "express"
NODE_ENVIRONMENT = {"NODE_ENV": "production"}
PYTHON_ENVIRONMENT = {"PYTHONPATH": str(ROOT)}

SSE_STARLETTE = Need("sse_starlette", f"{PYTHON} -m pip install sse-starlette==3.7.0", "module")
NCHAN = "apt-get install nginx libnginx-mod-nchan"
NODE = (
    Need("node", "apt-get install nodejs npm"),
    Need(str(EXPRESS / "node_modules" / ".package-lock.json"), "npm ci --prefix loadtest/peers/express", "file"),
)


def _python(module: str) -> list[str]:
    return [PYTHON, "-m", f"loadtest.peers.{module}"]


PEERS: list[Peer] = [
    Peer("sse-starlette", _python("sse_starlette_queue"), (SSE_STARLETTE,), PYTHON_ENVIRONMENT),
    Peer("fastapi-streaming", _python("fastapi_streaming"), env=PYTHON_ENVIRONMENT),
    Peer(
        "nchan",
        _python("nchan"),
        (Need("/usr/sbin/nginx", NCHAN, "file"), Need(MODULE, NCHAN, "file")),
        PYTHON_ENVIRONMENT,
        threads=ALL_CORES,
        resumes=True,
    ),
    Peer("express", ["node", str(EXPRESS / "one.js")], NODE, NODE_ENVIRONMENT),
    Peer("express-cluster", ["node", str(EXPRESS / "cluster.js")], NODE, NODE_ENVIRONMENT, threads=ALL_CORES),
]
