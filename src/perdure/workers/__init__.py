"""WHAT runs by itself beside a store: each worker is a thread with `start`, `stop`, `run_once`.

Any number of processes may run them on one store: leases decide who does what.
"""

from perdure.workers.handling import CronContext
from perdure.workers.indexer import Indexer
from perdure.workers.scheduler import Scheduler
from perdure.workers.summariser import Summariser
from perdure.workers.sweeper import Sweeper
from perdure.workers.webhooks import WebhookSender
from perdure.workers.worker import LEASE, Duty, Worker
from perdure.workers.workers import KINDS, Workers, serve

__all__ = [
    "KINDS",
    "LEASE",
    "CronContext",
    "Duty",
    "Indexer",
    "Scheduler",
    "Summariser",
    "Sweeper",
    "WebhookSender",
    "Worker",
    "Workers",
    "serve",
]
