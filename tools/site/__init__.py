"""The documentation as a site: pictures, reference and the build itself."""
