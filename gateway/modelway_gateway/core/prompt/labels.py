"""The closed sets that the analyser answers from. Their order is the order of the model's columns: it never changes."""

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
