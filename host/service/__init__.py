"""An accelerator for many clients over HTTP: what `fireflow serve` runs."""

from fireflow.host.service.access import AccessPolicy
from fireflow.host.service.app import make_app
from fireflow.host.service.service import Service
from fireflow.host.service.serving import ServiceOptions, serve

__all__ = ["AccessPolicy", "Service", "ServiceOptions", "make_app", "serve"]
