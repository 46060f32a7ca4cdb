"""The rollout engine: what a target's traffic does next, and why. Pure: no clock, no randomness, no I/O.

Two calls make one turn. `wanted.measurements_wanted(snapshot)` says what has to be measured; with the answers in
the snapshot, `advance.advance(snapshot)` says what the target serves now and what its state is. The files, from
the bottom:

- `errors`      what can only be a fault of this engine
- `model`       the words: snapshot in, plan out
- `settings`    a user's entry with every default resolved
- `phases`      the machine as a table
- `sequential`  the statistical test
- `promql`, `counters`  two ways to the same measurement
- `windows`     which intervals are closed, and which are lost
- `wanted`      what has to be measured
- `verdicts`, `evaluation`  counts into evidence, evidence into a verdict
- `view`, `candidates`, `preflight`, `steps`, `checks`  what may have happened, and what is asked first
- `effects`, `announcements`  what changes with it, and what is told
- `advance`     the decision about one target
- `together`    all targets of one policy: in lock-step, or one after the other
"""
