"""The operator: compiles custom resources into live config, pushes it and moves rollouts."""
