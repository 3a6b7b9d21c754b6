"""The sidecar: proxy, controller, telemetry, admin and the valve command."""
