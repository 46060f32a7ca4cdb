"""The operator's shell without a cluster: settings, certificates, the store, the turn."""
