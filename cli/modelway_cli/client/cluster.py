"""Putting a client's Secret into the cluster that a kubeconfig names.

Rule: a Secret that exists is never written over: whoever uses its key would be locked out. No message repeats what was
sent, since that holds the key.
"""

from pathlib import Path
from typing import Any, Final

from modelway_cli.errors import CliError

FIELD_MANAGER: Final = "modelway-cli"
TIMEOUT_SECONDS: Final = 10.0
DEFAULT_NAMESPACE: Final = "default"


def create_secret(manifest: dict[str, Any], *, kubeconfig: Path | None, context: str | None) -> str:
    """Create the Secret and return its namespace; without one in the manifest it is the kubeconfig's.

    Raises CliError when it exists, or cannot be created.
    """
    import urllib3
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=None if kubeconfig is None else str(kubeconfig),
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
        namespace = manifest["metadata"].get("namespace") or _namespace_of(kubeconfig, context)
    except (config.ConfigException, OSError) as error:
        raise CliError(f"no way to a cluster: {error} (name one with --kubeconfig and --context)") from error
    configuration.retries = False
    name = manifest["metadata"]["name"]
    with client.ApiClient(configuration) as api:
        try:
            client.CoreV1Api(api).create_namespaced_secret(
                namespace,
                manifest,  # type: ignore[arg-type]
                field_manager=FIELD_MANAGER,
                _request_timeout=TIMEOUT_SECONDS,
            )
        except client.ApiException as error:
            raise CliError(_refusal(name, namespace, error.status, error.reason)) from None
        except urllib3.exceptions.HTTPError as error:
            raise CliError(f"the API server at {configuration.host} gave no answer: {type(error).__name__}") from None
    return str(namespace)


def _namespace_of(kubeconfig: Path | None, context: str | None) -> str:
    from kubernetes import config

    contexts, active = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
        config_file=None if kubeconfig is None else str(kubeconfig)
    )
    chosen = active if context is None else next(one for one in contexts if one["name"] == context)
    return str(chosen["context"].get("namespace") or DEFAULT_NAMESPACE)


def _refusal(name: str, namespace: str, status: int, reason: str) -> str:
    where = f"Secret {namespace}/{name}"
    match status:
        case 409:
            return (
                f"{where} exists already and was left as it is. Its key stays valid: take another name for a new"
                f" client, or delete it first (kubectl delete secret {name} --namespace {namespace})"
            )
        case 404:
            return f"{where} was not created: there is no namespace {namespace}"
        case 401 | 403:
            return f"{where} was not created: you may not create Secrets there (HTTP {status})"
        case _:
            return f"{where} was not created: HTTP {status} {reason}"
