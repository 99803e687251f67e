"""An accelerator for many clients over HTTP: what `fireflow serve` runs."""

from fireflow.host.service.app import make_app
from fireflow.host.service.policy import Policy
from fireflow.host.service.service import Service

__all__ = ["Policy", "Service", "make_app"]
