"""HTML pages: layout, plots and players."""
