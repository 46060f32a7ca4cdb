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
