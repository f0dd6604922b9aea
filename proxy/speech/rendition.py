"""A finished reply, as it is kept."""

from __future__ import annotations

from proxy.cache.entry import About, Entry
from proxy.speech.elsewhere import StandIn
from proxy.speech.plan import Plan


def rendition(
    plan: Plan, whole: bytes, duration_s: float, keep_text: bool, stand_in: StandIn | None = None
) -> Entry:
    """Of `whole`, the bytes of all of it; under the key of whoever spoke it."""
    segment = plan.clips[0].segment
    about = About(
        kind="rendition",
        format=plan.format.name,
        voice=plan.voice if stand_in is None else stand_in.title,
        language=segment.language,
        speed=segment.speed,
        duration_s=duration_s,
        says=plan.says,
        text=plan.text if keep_text else None,
        provider=None if stand_in is None else stand_in.name,
    )
    return Entry(plan.key if stand_in is None else stand_in.key, whole, about)
