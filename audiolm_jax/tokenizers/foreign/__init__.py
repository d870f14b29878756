"""Reads other publishers' files: safetensors, PyTorch and joblib, never unpickled."""
