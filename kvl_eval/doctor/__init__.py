"""`kvl-eval doctor`: twenty questions and some small requests that show what a long run would suffer from."""
