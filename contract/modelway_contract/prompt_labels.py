"""The closed sets that the gateways' prompt analysis answers from, and that policies may name.

Rule: the order of tasks and domains is the order of the trained model's columns; it never changes.
"""

from enum import StrEnum


class Task(StrEnum):
    """What a prompt asks for."""

    CODE = "code"
    MATH = "math"
    REASONING = "reasoning"
    WRITING = "writing"
    ROLEPLAY = "roleplay"
    SUMMARIZATION = "summarization"
    TRANSLATION = "translation"
    EXTRACTION = "extraction"
    CLASSIFICATION = "classification"
    REWRITE = "rewrite"
    QA = "qa"
    RAG_QA = "rag_qa"
    BRAINSTORM = "brainstorm"
    CHAT = "chat"


class Domain(StrEnum):
    """What a prompt is about."""

    BIOLOGY = "biology"
    BUSINESS = "business"
    CHEMISTRY = "chemistry"
    COMPUTER_SCIENCE = "computer_science"
    ECONOMICS = "economics"
    ENGINEERING = "engineering"
    HEALTH = "health"
    HISTORY = "history"
    LAW = "law"
    MATH = "math"
    OTHER = "other"
    PHILOSOPHY = "philosophy"
    PHYSICS = "physics"
    PSYCHOLOGY = "psychology"


class ExpectedOutput(StrEnum):
    """How long an answer will be, roughly: up to 100 tokens, up to 500, more."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


class Pii(StrEnum):
    """The kinds of personal data that are looked for."""

    EMAIL = "email"
    CARD = "card"
    IBAN = "iban"
    SSN = "ssn"
    PHONE = "phone"
    KEY = "key"
    IP = "ip"


LANGUAGES = (
    "af", "am", "an", "ar", "as", "av", "az", "ba", "be", "bg", "bh", "bn", "bo", "br", "bs", "ca", "ce", "co", "cs",
    "cv", "cy", "da", "de", "dv", "el", "en", "eo", "es", "et", "eu", "fa", "fi", "fr", "fy", "ga", "gd", "gl", "gn",
    "gu", "gv", "he", "hi", "hr", "ht", "hu", "hy", "ia", "id", "ie", "io", "is", "it", "ja", "jv", "ka", "kk", "km",
    "kn", "ko", "ku", "kv", "kw", "ky", "la", "lb", "li", "lo", "lt", "lv", "mg", "mk", "ml", "mn", "mr", "ms", "mt",
    "my", "ne", "nl", "nn", "no", "oc", "or", "os", "pa", "pl", "ps", "pt", "qu", "rm", "ro", "ru", "sa", "sc", "sd",
    "sh", "si", "sk", "sl", "so", "sq", "sr", "su", "sv", "sw", "ta", "te", "tg", "th", "tk", "tl", "tr", "tt", "ug",
    "uk", "ur", "uz", "vi", "vo", "wa", "yi", "yo", "zh",
)  # fmt: skip
"""The languages that can be told, by their codes of ISO 639-1; two of them, bh and sh, are only kept by lid.176."""
