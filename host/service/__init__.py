"""An accelerator for many clients over HTTP: what `fireflow serve` runs."""

from host.service.app import make_app
from host.service.policy import Policy
from host.service.service import Service

__all__ = ["Policy", "Service", "make_app"]
