"""Fine-tunes by the trainers that people use, attributed by the command: `python -m tests.clients MODEL [CLIENT ...]`.

Each client writes a training file, trains on it and saves the adapter. What the command makes of file and adapter is
compared with products of gradients of the trainer's own loss.
"""

import sys

from tests.clients.common import run_clients
from tests.clients.plain_trainer import CLIENTS as PLAIN
from tests.clients.trl_sft import CLIENTS as SFT

if __name__ == "__main__":
    sys.exit(run_clients(SFT | PLAIN))
