"""Recommend: which metrics a problem asks for, and why (after Metrics Reloaded)."""

from truevox.evaluation.recommend.fingerprint import Fingerprint
from truevox.evaluation.recommend.published import PUBLISHED
from truevox.evaluation.recommend.questions import QUESTIONS, Question, next_question, open_questions
from truevox.evaluation.recommend.reading import read_answers, with_answer
from truevox.evaluation.recommend.recommendation import Recommendation, Recommended, recommend

__all__ = [
    "PUBLISHED", "QUESTIONS", "Fingerprint", "Question", "Recommendation", "Recommended", "next_question",
    "open_questions", "read_answers", "recommend", "with_answer",
]  # fmt: skip
