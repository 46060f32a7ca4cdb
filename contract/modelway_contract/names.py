"""Names that both sides must spell alike: headers, paths, metrics, labels, outcomes, bucket bounds.

Rule: a name stands here once two packages need it; a name that only one side uses stays on that side.
"""

from enum import StrEnum
from typing import Final

GROUP: Final = "modelway.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

ANSWER_HEADER_PREFIX: Final = "x-modelway-"
REQUEST_ID_HEADER: Final = "x-request-id"
PRIORITY_HEADER: Final = "x-priority"

# Admin listener (mutual TLS in a cluster, a bearer token on loopback standalone).
CONFIG_PATH: Final = "/config"
CONFIG_STATUS_PATH: Final = "/config/status"
PROBE_PATH: Final = "/probe"

# Health and metrics listener.
LIVE_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"

ADMIN_SERVER_NAME: Final = "gateway.modelway.internal"
"""The one name in every gateway's certificate; checked because pods are dialled by IP."""

OPERATOR_CLIENT_NAME: Final = "operator.modelway.internal"
"""The only client name that the admin port admits."""

SECRET_LABEL: Final = f"{GROUP}/secret"
"""Secrets are read only with this label."""


class SecretUse(StrEnum):
    """Values of `SECRET_LABEL` that users set."""

    CLIENT = "client"
    CREDENTIALS = "credentials"


CLIENT_KEY_FIELD: Final = "api-key"
GROUPS_ANNOTATION: Final = f"{GROUP}/groups"
TIER_ANNOTATION: Final = f"{GROUP}/tier"
PRIORITY_ANNOTATION: Final = f"{GROUP}/priority"
CHOOSES_PRIORITY_ANNOTATION: Final = f"{GROUP}/chooses-priority"

REGEX_MEMORY_BYTES: Final = 1 << 20
"""The most that RE2 may use for one pattern: both sides compile with it, so what the one takes the other can run."""

BUNDLE_KEY: Final = "config.json.gz"
"""The one key of the bundle Secret, and the file name a gateway boots from."""


class Arm(StrEnum):
    """Which side of a rollout a request was given to first; `none` where no rollout runs."""

    NONE = "none"
    STABLE = "stable"
    CANDIDATE = "candidate"


class Outcome(StrEnum):
    """How an attempt ended. A request counts as its first one did, in the arm that was given it."""

    SUCCESS = "success"
    CLIENT_ERROR = "client_error"
    CLIENT_CANCEL = "client_cancel"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    TIMEOUT = "timeout"
    CONNECT_ERROR = "connect_error"
    STREAM_ERROR = "stream_error"


class Label(StrEnum):
    """Label names of the gateway's series, in the order they are written.

    `modelway_namespace`, because Prometheus renames a scraped `namespace` where labels are not honoured.
    """

    NAMESPACE = "modelway_namespace"
    POLICY = "policy"
    RULE = "rule"
    TARGET = "target"
    MODEL = "model"
    VERSION = "version"
    ARM = "arm"
    OUTCOME = "outcome"


REQUESTS_TOTAL: Final = "modelway_requests_total"
TTFT_SECONDS: Final = "gen_ai_server_time_to_first_token_seconds"
TPOT_SECONDS: Final = "gen_ai_server_time_per_output_token_seconds"
DURATION_SECONDS: Final = "gen_ai_server_request_duration_seconds"

# Bucket bounds of the OpenTelemetry semantic conventions for generative AI servers (seconds). A threshold of an SLO
# metric must be one of them: a histogram knows nothing between its bounds.
TTFT_BUCKETS_SECONDS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
TPOT_BUCKETS_SECONDS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
DURATION_BUCKETS_SECONDS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
