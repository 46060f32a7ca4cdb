"""Objects to config and findings.

This floor reads objects as they are and says what the gateways get. A bad object drops only itself, a bad backend or
target only that part, and each says so in a `Finding`. It knows of rollouts only which version serves, never why.

- `versions`     what a model *is*, as a digest
- `places`       where a backend is: URLs and Services
- `credentials`  keys of backends, authorities, and the keys that clients know
- `models`       LLMModels to wire models
- `inventory`    all models of the install, and who has which name
- `conditions`   signals, `when` and `require`
- `fallbacks`    models that are asked when those of a rule failed
- `policies`     all policies of the install, and who answers for which name
"""
