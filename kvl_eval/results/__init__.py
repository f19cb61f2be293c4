"""What the Python calls return: scores, answers and comparisons, as objects, text, HTML and data frames."""
