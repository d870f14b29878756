"""The paper's subjective test (section IV-G): a page for people to judge by ear, and its score."""
