"""Neural codecs: audio to acoustic tokens and back."""
