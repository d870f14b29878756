"""Audio files, resampling and spectra."""
