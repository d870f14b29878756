"""The paper's tables from one command, its figures beside ours."""
