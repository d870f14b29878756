"""Programs beside the package: they make what it is trained on."""
