"""The standalone runner piece by piece: manifests, objects, the state folder, tables."""
