"""An accelerator for many clients over HTTP: what `fireflow serve` runs."""

from fireflow.host.service.access import AccessPolicy
from fireflow.host.service.app import make_app
from fireflow.host.service.service import Service

__all__ = ["AccessPolicy", "Service", "make_app"]
