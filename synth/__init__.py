"""The engine: Kokoro-82M behind a small protocol, in a process of its own. Never imports proxy."""
